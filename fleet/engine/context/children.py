"""
Runs that steps await: started in a commit of their own, then awaited without a slot.

An attempt that awaits several starts all of them before it ends: `asyncio.gather` runs them side by
side. It also waits for what it pays for meanwhile.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from fleet.config import recorded_only
from fleet.engine.context import still_running
from fleet.engine.transitions import journal
from fleet.engine.transitions.children import starting
from fleet.engine.transitions.children.starting import Target
from fleet.records.calls import Call
from fleet.records.errors import FleetError
from fleet.records.nested.child import Child, call_of
from fleet.workflow.calling.children import ChildEnd, ChildRun
from fleet.workflow.errors import CallTooLate
from fleet.workflow.suspending import ChildWait, Suspend

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from fleet.engine.attempts import Attempt
    from fleet.engine.clock import BrokerClock
    from fleet.engine.context.calls import AttemptCalls
    from fleet.engine.context.own_commits import OwnCommits
    from fleet.engine.ledger import Ledger
    from fleet.records.topics import Topics


class NoChildren(FleetError):
    """Raised by `ctx.run_workflow` if nothing here can run another workflow.

    What to do: Call it in a step that runs in memory, on a worker, or on an app.
    """

    def __init__(self) -> None:
        super().__init__("nothing here runs another workflow for a step")


class Place(NamedTuple):
    """Where a workflow runs."""

    #: `<prefix>.<workflow>`, in which its topics are.
    workflow: str
    partitions: int


class Places(Protocol):
    """Knows where the workflows run that steps may await."""

    async def find(self, run: ChildRun) -> Place:
        """Return where the workflow of a run is; raise a FleetError that says what is missing."""
        ...


class Nowhere:
    """See `Places`: no other workflow is known."""

    async def find(self, run: ChildRun) -> Place:
        """Refuse."""
        raise NoChildren


class ChildRuns:
    """The runs that the steps of one task await."""

    def __init__(
        self, ledger: "Ledger", own_commits: "OwnCommits", topics: "Topics", clock: "BrokerClock"
    ) -> None:
        self._ledger = ledger
        self._own_commits = own_commits
        self._topics = topics
        self._clock = clock

    def start(
        self, attempt: "Attempt", call: Call, target: Target
    ) -> "tuple[Child, Awaitable[None]]":
        """Decide to start a run; return it with what waits until that is committed."""
        still_running.check(attempt, CallTooLate)
        draft, now_ms = self._ledger.open, self._clock.now_ms()
        child = starting.start(draft, self._topics, attempt.work, call, target, now_ms)
        return child, self._own_commits.of(attempt.work, journal.name(call))


async def run(
    attempt: "Attempt", calls: "AttemptCalls", child_runs: ChildRuns, places: Places, run: ChildRun
) -> ChildEnd:
    """Return the end of a run that the step has started; else end the attempt."""
    call = call_of(run.name, calls.count(f"child {run.name}"))
    with calls.going_on():
        noted = await calls.read(call)
        child = Child.decode(noted) if noted is not None else None
        if child is None or not child.ended:
            recorded_only.check(f"ctx.run_workflow({run.name})")
        if child is None or child.void:
            place = await places.find(run)
            target = Target(*place, run.type, run.value, run.timeout_seconds)
            child, committed = child_runs.start(attempt, call, target)
            await committed
    if child.ended:
        return ChildEnd(child.run_id, child.terminal)
    attempt.children[call] = child
    await calls.others_over()
    if attempt.stopped or attempt.task is None or attempt.task.done():
        # A task that the step has left behind: asyncio would tell of any other error.
        raise asyncio.CancelledError
    # One that sleeps, too, or waits for an event, asks for the run when that is over.
    attempt.suspends = attempt.suspends or _all(attempt.children)
    raise Suspend(attempt.suspends)


def _all(children: Mapping[Call, Child]) -> ChildWait:
    return ChildWait(tuple(children), tuple(child.shown for child in children.values()))
