"""
The workflow of histories whose steps fail and are handled; a share of the seeds has it.

It is that of `branched`. Most of its steps trip now and then, in any attempt, and a handler gives
what the step would have given: so each join still has all that is meant for it, and nothing else.
A handler that may not run again lets the run fail, and that one alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from tenacity import stop_after_attempt, wait_fixed

from fleet import Context, StepFailedEvent, catch_error, retry_policy, step
from fleet.workflow.failing.step_failed import JoinedEvents
from simulation.branched import Bound, Branch, BranchedFlow, Left, Right
from simulation.flow import Advice, Done, Part, Whole
from simulation.plan import Plan
from simulation.poisoned import BUSY_SECONDS

#: Share of the seeds.
SHARE = 0.1
#: Share of the attempts that trip.
TRIPS = 0.12
TRIPPING = frozenset({"begin", "note", "shape", "bind", "left", "right", "first", "end"})


#: How often `shape` is tried before its handler gets the failure.
TRIES = 2


class Tripped(Exception):
    """Raised by a step that trips."""


class CaughtFlow(BranchedFlow, workflow="simulated"):
    """See the module."""

    @step(
        num_workers=2,
        retry_policy=retry_policy(stop=stop_after_attempt(TRIES), wait=wait_fixed(0.2)),
    )
    async def shape(self, ctx: Context, ev: Part) -> Whole | None:  # type: ignore[override]
        return await super().shape(ctx, ev)

    @catch_error(for_steps=["begin"])
    async def begin_again(self, ctx: Context, ev: StepFailedEvent) -> list[Branch]:
        by = await self._work(ctx, "begin_again", 0, "")
        return await self._branches(ctx, ev.input_event, by)

    @catch_error(for_steps=["note"], max_recoveries=2)
    async def note_again(self, ctx: Context, ev: StepFailedEvent) -> list[Part] | None:
        branch: Any = ev.input_event
        by = await self._work(ctx, "note_again", branch.by, "")
        return self._parts(branch, by)

    @catch_error
    async def rescue(
        self, ctx: Context, ev: StepFailedEvent
    ) -> Whole | Bound | Left | Right | Advice | Done | None:
        given: Any = ev.input_event
        events: list[Any] = given.events if isinstance(given, JoinedEvents) else [given]
        by = await self._work(ctx, "rescue", [one.by for one in events], "")
        instead: dict[str, Callable[[], Any]] = {
            "shape": lambda: self._whole(given, by),
            "bind": lambda: self._bound(ctx, events, by),
            "left": lambda: Left(number=given.number, by=by),
            "right": lambda: Right(number=given.number, by=by),
            "first": lambda: self._first(ctx, events, by),
        }
        if ev.step_name == "end":
            return await self._done(ctx, events, await ctx.store.get("fails"), by)
        found: Whole | Bound | Left | Right | Advice | None = instead[ev.step_name]()
        return found

    async def _work(self, ctx: Context, name: str, made_by: int | Sequence[int], fails: str) -> int:
        by = await super()._work(ctx, name, made_by, fails)
        laboratory = self._laboratory
        trips = name in TRIPPING and ctx.run_id not in laboratory.mended
        if trips and laboratory.world.random.random() < TRIPS:
            raise Tripped(f"attempt {by}")
        return by


def caught(plan: Plan, *, damaged: bool) -> Plan:
    """Return the plan of a seed with handlers, if it has them.

    Not if its logs are *damaged*: a step whose result is lost runs again, and joins see it. Not if
    a step ends its process: what comes of that is looked for at the end of its run.
    """
    random = Random(f"caught {plan.seed}")
    kills = any(run.raises.startswith("kill") for run in plan.runs)
    if damaged or kills or plan.kind != "plain" or plan.mix is not None:
        return plan
    if plan.compute.step > BUSY_SECONDS or plan.crowd is not None or random.random() > SHARE:
        return plan
    longest = min(plan.longest, plan.slots * 0.1)
    return replace(plan, kind="caught", longest=longest, refusal=plan.refusal / 5)
