"""How long ended runs are remembered."""

from types import SimpleNamespace
from typing import Any

import pytest

from fleet.engine.clock import BrokerClock
from fleet.engine.ledger import Ledger
from fleet.engine.retention import Retention
from fleet.engine.transitions.runs import DAY_MS, End
from fleet.memory.backend import MemoryStore
from fleet.records import state
from fleet.records.lifecycle import Completed, Failed

ENDED_MS = 9


def retention(store: MemoryStore, now_ms: float, **limits: float) -> Retention:
    """Return what forgets the runs of a task whose clock stands still at *now_ms*."""
    clock = BrokerClock(lambda: 0.0, "runs")
    clock.observe({"runs": int(now_ms)}, 0)
    parts: Any = SimpleNamespace(ledger=Ledger(store), clock=clock)
    gate: Any = SimpleNamespace(held_back=False)
    days = {"dedupe_days": 1, "resume_days": 7}
    settings: Any = SimpleNamespace(**days | {"most_ended": 0} | limits)
    return Retention(parts, gate, settings)


async def test_no_more_are_kept_than_may_be() -> None:
    """The oldest go first, however young they are."""
    store = MemoryStore()
    ends = [End(outcome=Completed.kind, offset=each, ended_ms=ENDED_MS + each) for each in range(5)]
    store.write({state.end_key(f"r{end.offset}"): end.encode() for end in ends}, 0)
    kept = retention(store, ENDED_MS, most_ended=3)
    assert [entry.run_id for entry in await kept._due()] == ["r0", "r1"]
    everything = retention(store, ENDED_MS)
    assert await everything._due() == []


async def due(outcome: str, time_ms: float, dedupe_days: float, resume_days: float) -> bool:
    """Tell whether a run that ended with *outcome* is to be forgotten at *time_ms*."""
    store = MemoryStore()
    end = End(outcome=outcome, offset=0, ended_ms=ENDED_MS)
    store.write({state.end_key("r"): end.encode()}, 0)
    limits = {"dedupe_days": dedupe_days, "resume_days": resume_days}
    return bool(await retention(store, time_ms, **limits)._due())


@pytest.mark.parametrize(
    ("outcome", "dedupe_days", "resume_days", "kept_days"),
    [(Completed.kind, 1, 7, 1), (Failed.kind, 1, 7, 7), (Failed.kind, 3, 0.5, 3)],
)
async def test_an_ended_run_is_kept_for_its_time_and_no_longer(
    outcome: str, dedupe_days: float, resume_days: float, kept_days: float
) -> None:
    """One without a result as long as it can be resumed, and never less than a repeat is known."""
    over_ms = ENDED_MS + kept_days * DAY_MS
    assert not await due(outcome, over_ms - 1, dedupe_days, resume_days)
    assert await due(outcome, over_ms, dedupe_days, resume_days)
