"""What the in-process log keeps of streams, so that they can be read again."""

from fleet.memory.kept import KeptRecords
from fleet.records.log import Delivered


def record(offset: int, key: bytes = b"a", size: int = 500) -> Delivered:
    return Delivered("stream", 0, offset, 0, key, b"x" * size, [])


def offsets(kept: KeptRecords, key: bytes) -> list[int]:
    return [one.offset for one in kept.of(key, lambda _: True)]


def test_without_a_bound_everything_is_kept() -> None:
    kept = KeptRecords()
    for offset in range(100):
        kept.add(record(offset))
    assert offsets(kept, b"a") == list(range(100))
    assert (kept.begin, kept.first(b"a"), kept.first(b"b")) == (0, 0, None)


def test_beyond_the_bound_the_oldest_of_all_runs_go() -> None:
    """A record costs 500 bytes beside its value."""
    kept = KeptRecords(most_bytes=4_000)
    for offset in range(6):
        kept.add(record(offset, b"ab"[offset % 2 :][:1]))
    assert (offsets(kept, b"a"), offsets(kept, b"b")) == ([2, 4], [3, 5])
    assert kept.begin == 2


def test_what_is_forgotten_makes_room() -> None:
    kept = KeptRecords(most_bytes=4_000)
    for offset in range(3):
        kept.add(record(offset))
    kept.forget(b"a")
    for offset in range(3, 7):
        kept.add(record(offset, b"b"))
    assert (offsets(kept, b"a"), offsets(kept, b"b")) == ([], [3, 4, 5, 6])
    assert kept.begin == 0


def test_a_run_whose_id_comes_again_loses_nothing_for_its_predecessor() -> None:
    """What was forgotten stands in no order any more."""
    kept = KeptRecords(most_bytes=4_000)
    for offset in range(3):
        kept.add(record(offset))
    kept.forget(b"a")
    for offset in range(3, 7):
        kept.add(record(offset))
    assert offsets(kept, b"a") == [3, 4, 5, 6]
    kept.add(record(7))
    assert offsets(kept, b"a") == [4, 5, 6, 7]


def test_nothing_stays_of_runs_that_are_forgotten() -> None:
    """However many there were: a process may run for weeks below the bound."""
    kept = KeptRecords(most_bytes=4_000)
    for offset in range(1_000):
        kept.add(record(offset, b"%d" % offset))
        kept.forget(b"%d" % offset)
    assert (len(kept._order), len(kept._by_key), kept._bytes) == (0, 0, 0)
