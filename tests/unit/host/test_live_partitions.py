"""Which partitions' records are taken, and what becomes of the others."""

from types import SimpleNamespace
from typing import Any

from aiokafka.structs import ConsumerRecord
from faust.types import TP

from fleet.engine.loading.guarded_store import StoreFailed
from fleet.host.engines import Engines
from fleet.host.live_partitions import LivePartitions

EVENTS, OTHER = TP("joke.JokeEvent", 0), TP("joke.JokeEvent", 1)


class Task:
    """Notes what is delivered to it, and how far it was read."""

    def __init__(self) -> None:
        self.trackers = {EVENTS.topic: SimpleNamespace(unseen=7)}
        self.taking = self.alive = self.wants = True
        #: The task takes its records itself here.
        self.intake = self
        self.broken = False
        self.offsets: list[int] = []
        self.reached: list[tuple[Any, ...]] = []

    def takes(self, topic: str) -> bool:
        return self.wants

    def deliver(self, record: Any) -> None:
        if self.broken:
            raise StoreFailed("get", "Corruption")
        self.offsets.append(record.offset)

    def reaches(self, *reached: Any) -> None:
        self.reached.append(reached)


class Engine:
    """An engine with tasks of two partitions, whose process may have been silent."""

    inputs = frozenset({EVENTS.topic})

    def __init__(self) -> None:
        self.tasks = {0: Task(), 1: Task()}
        self.sure = True
        self.step_group = SimpleNamespace(ownership=SimpleNamespace(heartbeat=lambda: self.sure))


def live_of(*engines: Engine) -> LivePartitions:
    carried = Engines()
    for engine in engines:
        carried.add(engine)  # type: ignore[arg-type]
    return LivePartitions(carried)


def record(offset: int) -> Any:
    return ConsumerRecord(*EVENTS, offset, 0, 1, b"k", b"v", None, 1, 1, ())


def test_a_partition_starts_where_its_task_continues() -> None:
    """Its records are taken only after it was sought there."""
    engine = Engine()
    live = live_of(engine)
    engine.tasks[1].taking = False
    starting = live.starting([EVENTS, OTHER, TP("native", 0)])
    before = live.takes(EVENTS)
    live.begin(starting)

    assert (starting, before, live.takes(EVENTS)) == ({EVENTS: 7}, False, True)
    assert live.starting([EVENTS]) == {}


def test_nothing_is_taken_for_a_task_that_has_enough() -> None:
    """It stays live: what it takes next follows what it has."""
    engine = Engine()
    live = live_of(engine)
    live.begin([EVENTS])
    engine.tasks[0].wants = False

    assert not live.takes(EVENTS)
    assert EVENTS in live


def test_records_of_a_partition_that_is_not_live_are_dropped() -> None:
    """They come again: the partition is sought to before it goes live."""
    engine = Engine()
    live = live_of(engine)
    live.deliver(EVENTS, [record(3)])
    live.begin([EVENTS])
    live.deliver(EVENTS, [record(7), record(8)])

    assert engine.tasks[0].offsets == [7, 8]


def test_a_lost_task_gets_no_more_records() -> None:
    """Neither one that is dead nor one whose local state breaks while it takes them."""
    for attribute, value in (("alive", False), ("broken", True)):
        engine = Engine()
        live = live_of(engine)
        live.begin([EVENTS])
        setattr(engine.tasks[0], attribute, value)
        live.deliver(EVENTS, [record(7)])

        assert engine.tasks[0].offsets == []
        assert EVENTS not in live


def test_a_process_that_was_silent_takes_no_record_of_any_engine() -> None:
    """Each engine hears of it, also behind one that is sure."""
    sure, unsure = Engine(), Engine()
    live = live_of(sure, unsure)
    live.begin([EVENTS])
    unsure.sure = False
    live.deliver(EVENTS, [record(7)])

    assert sure.tasks[0].offsets == unsure.tasks[0].offsets == []
    assert list(live) == []


def test_a_partition_is_left_alone() -> None:
    """A task that is opened again is sought to, and the other partitions are not."""
    live = live_of(Engine())
    live.begin([EVENTS, OTHER])

    live.leave(0)

    assert list(live) == [OTHER]


def test_a_task_hears_how_far_it_was_read_while_it_is_live() -> None:
    """Another task of a partition that was revoked meanwhile has not read so far."""
    engine = Engine()
    live = live_of(engine)
    live.log_begins(EVENTS, 2)
    live.begin([EVENTS])
    live.reach({EVENTS: (7, 9), OTHER: (1, 1), TP("native", 0): (1, 1)})

    assert engine.tasks[0].reached == [(EVENTS.topic, 7, 9, 2)]
    assert engine.tasks[1].reached == []
