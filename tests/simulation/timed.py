"""
The workflow of histories whose steps are tried again and sleep; a share of the seeds has it.

Some attempts of `shape` fail, and are made again after some seconds. `note` sleeps twice. What the
log says of an attempt tells what the next one has to know: its number, and that it begins when it
is due and not before.
"""

from dataclasses import replace
from random import Random

from tenacity import stop_after_attempt, wait_random

from fleet import Context, retry_policy, step
from simulation.flow import Advice, Part, SimulatedFlow, Try, Whole
from simulation.plan import Plan
from simulation.poisoned import BUSY_SECONDS

#: Share of the seeds.
SHARE = 0.07
#: Shortest wait before another attempt, and how long a step sleeps, in seconds.
SHORTEST, SLEEPS = 1.0, (2.0, 5.0)


class Flaky(Exception):
    """What another attempt may not have."""


class TimedFlow(SimulatedFlow, workflow="simulated"):
    """See the module."""

    @step(
        num_workers=2,
        retry_policy=retry_policy(wait=wait_random(SHORTEST, 8), stop=stop_after_attempt(3)),
    )
    async def shape(self, ctx: Context, ev: Part) -> Whole:
        self._laboratory.on_try(Try(self._worker, ctx.run_id, ctx.idempotency_key, ctx.attempt))
        by = await self._work(ctx, "shape", ev.by, ev.fails)
        self._take(ev, by)
        if ctx.attempt <= ev.number % 3:
            raise Flaky
        return Whole(number=ev.number, fails=ev.fails, by=by)

    @step
    async def note(self, ctx: Context, ev: Part) -> Advice | None:
        self._laboratory.on_try(Try(self._worker, ctx.run_id, ctx.idempotency_key, ctx.attempt))
        by = await self._work(ctx, "note", ev.by, ev.fails)
        self._take(ev, by)
        for seconds in SLEEPS:
            await ctx.sleep(seconds)
        await ctx.store.set(f"noted.{ev.number}", by)
        return Advice(text="noted", by=by) if ev.number else None


def timed(plan: Plan, *, damaged: bool) -> Plan:
    """Return the plan of a seed with steps that wait for their time, if it has them.

    Not if its logs are *damaged*: a step whose entry is lost is tried too often.
    """
    random = Random(f"timed {plan.seed}")
    if damaged or plan.kind != "plain" or random.random() > SHARE:
        return plan
    busy = plan.compute.step > BUSY_SECONDS or plan.crowd is not None
    if plan.mix is not None or busy or any(run.raises for run in plan.runs):
        return plan
    return replace(plan, kind="timed")
