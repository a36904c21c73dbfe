"""
The workflow of histories whose steps edit a typed context; a share of the seeds has it.

Each edit writes its own name at the end of a list. A name that is there twice, or gone, or seen by
its own block, or missing where a step reads what came before it, breaks a promise; so does a block
that is open while another one of its run is.
"""

import asyncio
from dataclasses import replace
from random import Random

from pydantic import BaseModel, Field

from fleet import Context, step
from simulation.flow import Advice, Done, Part, SimulatedFlow, Whole
from simulation.plan import Plan
from simulation.poisoned import BUSY_SECONDS

#: Share of the seeds.
SHARE = 0.06
#: How many edits each step makes that makes any.
EDITS = {"shape": 1, "note": 2}


class Tally(BaseModel):
    begun: int = 0
    noted: dict[str, int] = Field(default_factory=dict)
    heard: int = 0
    #: Names of the edits, in their order.
    made: list[str] = Field(default_factory=list)


class EditedFlow(SimulatedFlow, workflow="simulated"):
    """See the module."""

    @step(num_workers=3)
    async def shape(self, ctx: Context[Tally], ev: Part) -> Whole:
        await self._edit(ctx, 1)
        by = await self._work(ctx, "shape", ev.by, ev.fails)
        self._take(ev, by)
        return Whole(number=ev.number, fails=ev.fails, by=by)

    @step
    async def note(self, ctx: Context[Tally], ev: Part) -> Advice | None:
        by = await self._work(ctx, "note", ev.by, ev.fails)
        self._take(ev, by)
        await self._fail_to_edit(ctx)
        for number in range(1, EDITS["note"] + 1):
            await self._edit(ctx, number)
        await ctx.store.set(f"noted.{ev.number}", by)
        return Advice(text="noted", by=by) if ev.number else None

    @step
    async def end(self, ctx: Context[Tally], ev: Whole) -> Done | None:
        made = await ctx.store.get("made")
        if edit_name(self._laboratory.attempts[ev.by - 1].key, 1) not in made:
            told = f"end of {ctx.run_id} does not see what attempt {ev.by} has edited"
            self._laboratory.world.violate(told)
        return await super().end(ctx, ev)

    async def _edit(self, ctx: Context[Tally], number: int) -> None:
        laboratory, name = self._laboratory, edit_name(ctx.idempotency_key, number)
        inside = laboratory.inside.setdefault((self._worker, ctx.run_id), [])
        async with ctx.store.edit_state() as tally:
            if inside:
                laboratory.world.violate(f"{name} edits {ctx.run_id} while {inside} does")
            inside.append(name)
            try:
                if name in tally.made:
                    laboratory.world.violate(f"the block of {name} sees its own edit")
                tally.made.append(name)
                if laboratory.world.random.random() < 0.5:
                    await asyncio.sleep(laboratory.world.random.uniform(0, 0.3))
            finally:
                inside.remove(name)
        laboratory.on_edit(ctx.run_id, self._worker, name)

    async def _fail_to_edit(self, ctx: Context[Tally]) -> None:
        try:
            async with ctx.store.edit_state() as tally:
                tally.made.append("of a block that failed")
                await _fail()
        except LookupError:
            pass


async def _fail() -> None:
    raise LookupError


def edit_name(key: str, number: int) -> str:
    """Return the name of the *number*-th edit of a step; *key* is that of its attempts."""
    return f"{key} {number}"


def edited(plan: Plan, *, damaged: bool) -> Plan:
    """Return the plan of a seed with edits, if it has them.

    Not if its logs are *damaged*: a step whose result is lost edits again.
    """
    random = Random(f"edited {plan.seed}")
    if damaged or plan.kind != "plain" or random.random() > SHARE:
        return plan
    if plan.mix is not None or plan.compute.step > BUSY_SECONDS or plan.crowd is not None:
        return plan
    return replace(plan, kind="edited", refusal=plan.refusal / 2)
