"""How long ended runs are remembered."""

from dataclasses import dataclass, field

import pytest

from fleet.engine.ends_index import Entry
from fleet.engine.ledger import Ledger
from fleet.engine.retention import Retention
from fleet.engine.transitions.runs import DAY_MS, End
from fleet.memory.backend import MemoryStore
from fleet.records import state
from fleet.records.lifecycle import Completed, Failed

ENDED_MS = 9


@dataclass
class Owner:
    """Whose runs they are; its broker time stands still."""

    time_ms: float
    held_back: bool = False
    knows_time: bool = True
    forgotten: list[Entry] = field(default_factory=list)

    def now_ms(self) -> float:
        """Return the broker's time."""
        return self.time_ms

    def have_passed(self, _time_ms: float) -> bool:
        """Whether everything before that was delivered."""
        return True

    def forget(self, entry: Entry) -> None:
        """Remove everything that is kept of a run."""
        self.forgotten.append(entry)


async def test_no_more_are_kept_than_may_be() -> None:
    """The oldest go first, however young they are."""
    store = MemoryStore()
    ends = [End(outcome=Completed.kind, offset=each, ended_ms=ENDED_MS + each) for each in range(5)]
    store.write({state.end_key(f"r{end.offset}"): end.encode() for end in ends}, 0)
    kept = Retention(Ledger(store), Owner(ENDED_MS), 1, 7, most=3)
    assert [entry.run_id for entry in await kept._due()] == ["r0", "r1"]
    everything = Retention(Ledger(store), Owner(ENDED_MS), 1, 7)
    assert await everything._due() == []


async def due(outcome: str, time_ms: float, dedupe_days: float, resume_days: float) -> bool:
    """Tell whether a run that ended with *outcome* is to be forgotten at *time_ms*."""
    store = MemoryStore()
    end = End(outcome=outcome, offset=0, ended_ms=ENDED_MS)
    store.write({state.end_key("r"): end.encode()}, 0)
    retention = Retention(Ledger(store), Owner(time_ms), dedupe_days, resume_days)
    return bool(await retention._due())


@pytest.mark.parametrize(
    ("outcome", "dedupe_days", "resume_days", "kept_days"),
    [(Completed.kind, 1, 7, 1), (Failed.kind, 1, 7, 7), (Failed.kind, 3, 0.5, 3)],
)
async def test_an_ended_run_is_kept_for_its_time_and_no_longer(
    outcome: str, dedupe_days: float, resume_days: float, kept_days: float
) -> None:
    """A frozen one for as long as it can be resumed, and never less than a repeat is known."""
    over_ms = ENDED_MS + kept_days * DAY_MS
    assert not await due(outcome, over_ms - 1, dedupe_days, resume_days)
    assert await due(outcome, over_ms, dedupe_days, resume_days)
