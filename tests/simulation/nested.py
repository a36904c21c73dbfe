"""
The workflow of histories whose steps run their own workflow and await it; a share of the seeds.

`shape` of a run from outside starts runs as the number of its part says: one; one that fails, and
another in its next attempt; two of which one never ends by itself. All runs are of the one group,
most of them in another partition than their parent.
"""

import asyncio
from dataclasses import replace
from random import Random

from tenacity import stop_after_attempt, wait_fixed

from fleet import Context, retry_policy, step
from simulation.flow import Done, Heard, Order, Part, SimulatedFlow, Whole
from simulation.plan import LONG, Plan
from simulation.poisoned import BUSY_SECONDS

#: Share of the seeds.
SHARE = 0.08
#: It takes none of the histories from which mutations are searched.
_DRAW = "nested 5326"
#: Length of the ids that Fleet makes for runs which steps start.
_ID_LENGTH = 24


def is_inside(run_id: str) -> bool:
    """Whether a step has started a run."""
    return len(run_id) == _ID_LENGTH


class NestedFlow(SimulatedFlow, workflow="simulated"):
    """See the module."""

    #: So only its parent's end, or its step's, ends a run that never ends by itself.
    _fleet_timeout = None

    @step(num_workers=3, retry_policy=retry_policy(wait=wait_fixed(1), stop=stop_after_attempt(2)))
    async def shape(self, ctx: Context, ev: Part) -> Whole:
        by = await self._work(ctx, "shape", ev.by, ev.fails)
        self._take(ev, by)
        if not is_inside(ctx.run_id):
            await self._run_others(ctx, ev.number)
        return Whole(number=ev.number, fails=ev.fails, by=by)

    async def _run_others(self, ctx: Context, number: int) -> None:
        match number % 3:
            case 0:
                runs = [self._run(ctx, n, "") for n in range(2)]
                # The attempt goes on meanwhile: a run may end before its step awaits it.
                await asyncio.gather(*runs, ctx.memo("pause", self._pause))
            case 1:
                await self._run_failing(ctx)
            case 2:
                await self._race(ctx)

    async def _pause(self) -> int:
        await asyncio.sleep(self._laboratory.world.random.uniform(0, 4))
        return 1

    async def _run_failing(self, ctx: Context) -> None:
        try:
            await self._run(ctx, 0, "end")
        except LookupError as failure:
            # Its number is that of the attempt that has failed.
            self._hear(ctx, f"failure of attempt {ctx.attempt}", str(failure))
            if ctx.attempt == 1:
                raise
            await ctx.sleep(1)

    async def _race(self, ctx: Context) -> None:
        runs = [asyncio.ensure_future(self._run(ctx, n, ("", "never")[n])) for n in range(2)]
        try:
            done, _ = await asyncio.wait(runs, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.gather(*done)
        finally:
            for run in runs:
                run.cancel()

    async def _run(self, ctx: Context, number: int, fails: str) -> None:
        order = Order(parts=1, fails=fails)
        done: Done = await ctx.run_workflow(self, order)
        self._hear(ctx, f"run {number}", str(done.by))

    def _hear(self, ctx: Context, what: str, given: str) -> None:
        self._laboratory.on_heard(Heard(self._worker, ctx.run_id, ctx.idempotency_key, what, given))


def nested(plan: Plan, *, damaged: bool) -> Plan:
    """Return the plan of a seed with steps that run other workflows, if it has them.

    Not if its logs are *damaged*: a run whose start or end is lost is awaited in vain.
    """
    random = Random(f"{_DRAW} {plan.seed}")
    if damaged or plan.kind != "plain" or random.random() > SHARE:
        return plan
    busy = plan.compute.step > BUSY_SECONDS or plan.crowd is not None
    if plan.mix is not None or busy or any(run.raises for run in plan.runs):
        return plan
    # What is cancelled before it begins must not be forgotten before that.
    return replace(plan, kind="nested", dedupe_seconds=LONG, refusal=plan.refusal / 2)
