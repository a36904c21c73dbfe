"""
Histories in which runs wait for a place, what waits for its run is set aside in the state, and a
step sends events that no step takes.

A small share of the seeds, by a chance of its own: the plans of all others stay the same.
"""

from collections import Counter
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from fleet.records import envelope as envelopes
from fleet.records.envelope import child_id
from fleet.records.lifecycle import StepRecord
from simulation.broker import Broker
from simulation.plan import Plan, RunPlan
from simulation.worker import TOPICS
from simulation.world import World

if TYPE_CHECKING:
    from simulation.flow import Attempt

#: Share of the histories.
SHARE = 0.12
#: How many of them have runs with many parts.
PARTED = 0.3


def queued(plan: Plan, *, damaged: bool) -> Plan:
    """Return the plan of a seed with its limits, if it has any."""
    random = Random(f"queued {plan.seed}")
    busy = plan.crowd is not None or plan.crash_limit or any(run.raises for run in plan.runs)
    if damaged or busy or random.random() >= SHARE:
        return plan
    if random.random() < PARTED:
        plan = _parted(random, plan)
    return replace(
        plan,
        # One after the other they must have ended before the history has.
        longest=min(plan.longest, 0.5),
        # A run that awaits its own workflow would wait for its own place.
        concurrent_runs=random.choice((None, 1, 1, 2)) if plan.kind != "nested" else None,
        crowded=random.choice((0, 0, 1, 3)),
        strays=True,
    )


def _parted(random: Random, plan: Plan) -> Plan:
    """Let runs come together, have many parts, be cancelled meanwhile and be resumed."""
    at = plan.runs[0].calls[0].at
    runs = [_cancelled(random, run, at + 0.05 * number) for number, run in enumerate(plan.runs[:3])]
    # A commit of so many parts gets through a broker that refuses some.
    return replace(
        plan,
        slots=random.choice((2, 3)),
        runs=tuple(runs),
        refusal=plan.refusal / 5,
        mix=None,
    )


def _cancelled(random: Random, run: RunPlan, at: float) -> RunPlan:
    first = replace(run.calls[0], at=at, parts=6)
    cancelled_at = first.at + random.uniform(0.2, 2)
    resumed_at = cancelled_at + random.uniform(0.1, 2)
    return replace(
        run,
        calls=(first,),
        fails="",
        timeout_seconds=None,
        poisoned_at=(),
        cancelled_at=(cancelled_at,),
        resumed_at=(resumed_at,),
    )


class Places:
    """Which runs have steps in flight, by worker."""

    def __init__(self, world: World, limit: int | None) -> None:
        self._world = world
        self._limit = limit
        self._inside: dict[str, Counter[str]] = {}

    def enter(self, attempt: "Attempt") -> None:
        """Take a step that begins."""
        runs = self._inside.setdefault(attempt.worker, Counter())
        runs[attempt.run_id] += 1
        if self._limit is not None and len(+runs) > self._limit:
            self._world.violate(f"{attempt.worker} works on {sorted(+runs)} at once")

    def leave(self, attempt: "Attempt") -> None:
        """Take a step that has ended."""
        self._inside[attempt.worker][attempt.run_id] -= 1


def check_strays(world: World, broker: Broker, plan: Plan) -> None:
    """Each event that no step takes is told in the stream once, if its sender's result counts."""
    sent = [
        child_id(step.event_id, step.step, number)
        for record in broker.topic(TOPICS.history)
        for step in [StepRecord.decode(record.value or b"")]
        for number, kind in enumerate(step.sent)
        if kind == "Stray"
    ]
    told = [
        envelope.parent_id
        for record in broker.topic(TOPICS.stream)
        for envelope in [envelopes.parse(record.headers)]
        if envelope.type == "UnhandledEvent" and b'"Stray"' in (record.value or b"")
    ]
    if plan.calling.copied_at:
        # A client has written records of the stream again.
        told = list(set(told))
    if sorted(sent) != sorted(told):
        world.violate(f"{len(told)} events are told to be unhandled, and {len(sent)} were sent")
