"""Callers that have the id of a run and nothing else: they follow it, and cancel it."""

from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from fleet.kafka.calling.run_state import ContextUnreadable
from fleet.workflow.errors import EndGone, RunUnheard, RunUnknown
from simulation.plan import LONG
from simulation.replacing import damage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulation.caller import CallerProcess
    from simulation.checks import Checks
    from simulation.plan import Plan
    from simulation.world import World

#: Share of the histories that have such callers.
SHARE = 0.06
#: How long a cancel waits for the end, in seconds: longer than any outage.
CANCEL_SECONDS = 150.0


@dataclass(frozen=True)
class Asked:
    """A run that is asked for by its id."""

    at: float
    caller: int
    run_id: str
    cancels: bool


def make(plan: "Plan") -> tuple[Asked, ...]:
    """Return what is asked for in a history."""
    # Chance of its own: all other histories are the same with and without it.
    random = Random(f"elsewhere {plan.seed}")
    quiet = plan.mix is None and plan.crowd is None and not plan.crash_limit
    if random.random() > SHARE or plan.kind not in ("plain", "timed") or not quiet:
        return ()
    # An ended run that is soon forgotten may begin again.
    if plan.dedupe_seconds < LONG or damage(plan.seed):
        return ()
    asked = [_asked(random, run.run_id, run.calls[0].at) for run in plan.runs for _ in range(3)]
    return (*asked, Asked(random.uniform(5, 20), 1, "unseen", cancels=True))


def _asked(random: Random, run_id: str, begin: float) -> Asked:
    at = begin + random.choice((random.uniform(-0.2, 1), random.uniform(0, 20)))
    return Asked(at, random.randrange(2), run_id, cancels=random.random() < 0.3)


class Elsewhere:
    """Asks, and looks at the answers."""

    def __init__(self, world: "World", checks: "Checks") -> None:
        self._world = world
        self._checks = checks
        self._waiting: dict[Asked, str] = {}

    def prepare(self, asked: "Sequence[Asked]", callers: "Sequence[CallerProcess]") -> None:
        """Let the callers ask when it is time."""
        for one in asked:
            caller = callers[one.caller]
            self._world.after(one.at, partial(caller.work, partial(self._ask, one, caller)))

    def unanswered(self) -> list[str]:
        """Return what was asked and not answered."""
        return [f"nobody told who asked for {asked.run_id}" for asked in self._waiting]

    async def _ask(self, asked: Asked, caller: "CallerProcess") -> None:
        self._waiting[asked] = ""
        self._checks.read()
        had_begun = asked.run_id in self._checks.begun
        verb = "cancels" if asked.cancels else "asks for"
        self._world.note(f"caller{asked.caller}", f"{verb} {asked.run_id} by its id")
        try:
            outcome = await self._outcome(asked, caller)
        except RunUnknown:
            if had_begun:
                self._world.violate(f"{asked.run_id} has begun, and is not known by its id")
        except (ContextUnreadable, EndGone, RunUnheard):
            pass
        else:
            self._check(asked.run_id, outcome)
        del self._waiting[asked]

    async def _outcome(self, asked: Asked, caller: "CallerProcess") -> str:
        if asked.cancels:
            return await caller.inner.cancel_and_wait(asked.run_id, "elsewhere", CANCEL_SECONDS)
        handler = caller.inner.attach(asked.run_id).handler
        await handler.until_done()
        error = handler.exception()
        if not handler.has_ended and error is not None:
            raise error
        return handler.outcome

    def _check(self, run_id: str, outcome: str) -> None:
        self._checks.read()
        ends = [end.kind for end in self._checks.every_end(run_id)]
        if outcome not in ends:
            self._world.violate(f"who asked for {run_id} heard {outcome!r}, the log has {ends}")
