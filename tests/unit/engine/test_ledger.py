"""The ledger: decisions are seen at once, the store changes only after the log has them."""

import pytest

from fleet.engine.ledger import Ledger
from fleet.engine.log import Receipt
from fleet.memory.backend import MemoryStore


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    made.write({b"a": b"0", b"b": b"0"})
    return made


def contents(view: Ledger | MemoryStore) -> dict[bytes, bytes]:
    """Return everything that a view shows."""
    return dict(view.items(b""))


def test_a_decision_is_seen_before_it_is_committed(store: MemoryStore) -> None:
    """Two starts of one run that arrive before a commit are told apart."""
    ledger = Ledger(store)
    ledger.open.state.put(b"a", b"1")
    assert ledger.get(b"a") == b"1"
    assert contents(ledger) == {b"a": b"1", b"b": b"0"}


def test_what_is_being_committed_is_seen_under_what_is_decided_since(store: MemoryStore) -> None:
    """Reads go through the open draft, the sealed one and the store, in this order."""
    ledger = Ledger(store)
    ledger.open.state.put(b"a", b"1")
    ledger.open.state.delete(b"b")
    ledger.seal()
    ledger.open.state.put(b"c", b"2")
    assert contents(ledger) == {b"a": b"1", b"c": b"2"}
    ledger.open.state.put(b"a", b"2")
    assert ledger.get(b"a") == b"2"


def test_the_store_changes_only_when_the_commit_is_settled(store: MemoryStore) -> None:
    """Local state is never ahead of the log, and gets exactly the sealed changes."""
    ledger = Ledger(store)
    ledger.open.state.put(b"a", b"1")
    sealed = ledger.seal()
    ledger.open.state.put(b"b", b"2")
    assert contents(store) == {b"a": b"0", b"b": b"0"}
    ledger.settle(Receipt(0, 1))
    assert dict(sealed.state.changes) == {b"a": b"1"}
    assert contents(store) == {b"a": b"1", b"b": b"0"}
    assert contents(ledger) == {b"a": b"1", b"b": b"2"}


def test_records_belong_to_the_draft_that_they_were_added_to(store: MemoryStore) -> None:
    """What is decided during a commit is part of the next."""
    ledger = Ledger(store)
    first = ledger.open
    ledger.seal()
    assert ledger.open is not first
    assert ledger.sealed is first
    ledger.settle(Receipt(0, 0))
    assert ledger.sealed is None


def test_a_draft_that_was_open_during_a_commit_can_be_sealed_after_it(store: MemoryStore) -> None:
    """Commit follows commit, and the store ends with all of them."""
    ledger = Ledger(store)
    for number in range(5):
        ledger.open.state.put(b"a", b"%d" % number)
        ledger.open.state.put(b"n%d" % number, b"")
        ledger.seal()
        ledger.open.state.delete(b"b")
        ledger.settle(Receipt(0, number))
    assert contents(store) == {b"a": b"4"} | {b"n%d" % number: b"" for number in range(5)}


def test_commits_leave_nothing_behind(store: MemoryStore) -> None:
    """A task commits for weeks: a read must not go through all that was ever sealed."""
    ledger = Ledger(store)
    for _ in range(3_000):
        ledger.open.state.put(b"a", b"1")
        ledger.seal()
        ledger.settle(Receipt(0, 0))
    assert ledger.get(b"b") == b"0"
    assert ledger.open.state.below is store


def test_one_commit_at_a_time(store: MemoryStore) -> None:
    """A second seal would lose the first draft."""
    ledger = Ledger(store)
    ledger.seal()
    with pytest.raises(AssertionError, match="one commit at a time"):
        ledger.seal()


def test_a_view_that_was_taken_before_a_commit_shows_the_present(store: MemoryStore) -> None:
    """An attempt that runs over several commits reads through the ledger, not through a draft."""
    ledger = Ledger(store)
    view = ledger
    ledger.open.state.put(b"a", b"1")
    ledger.seal()
    ledger.settle(Receipt(0, 0))
    ledger.open.state.put(b"a", b"2")
    assert view.get(b"a") == b"2"


def test_a_scan_goes_on_after_a_key(store: MemoryStore) -> None:
    """The look for forgotten runs takes a few at a time, in the order of their keys."""
    store.write({b"e%d" % number: b"" for number in range(5)})
    first = store.scan(b"e", b"e", 2)
    assert [key for key, _ in first] == [b"e0", b"e1"]
    rest = store.scan(b"e", first[-1][0], 10)
    assert [key for key, _ in rest] == [b"e2", b"e3", b"e4"]
    assert store.scan(b"e", b"e4", 10) == []
