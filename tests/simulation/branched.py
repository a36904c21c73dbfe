"""
The workflow of histories with fan-outs and joins; a share of the seeds has it.

`begin` returns a list of branches, and most of them return a list of parts. Each list has joins: of
all, of two, and of two parameters; one step collects events over its attempts. Every join looks
whether it has what is meant for it, all of it and nothing else, whatever happened meanwhile.
"""

import asyncio
from dataclasses import replace
from random import Random
from typing import Annotated

from fleet import Collect, Context, Event, Take, step
from simulation.flow import Advice, Done, Order, Part, SimulatedFlow, Whole
from simulation.plan import Plan
from simulation.poisoned import BUSY_SECONDS

#: Share of the seeds.
SHARE = 0.06
#: In the place of a branch's number: it is not known, and of all branches.
_UNKNOWN, _ALL = -1, -2


class Branch(Event):
    number: int
    fails: str
    by: int


class Bound(Event):
    number: int
    by: int


class Left(Event):
    number: int
    by: int


class Right(Event):
    number: int
    by: int


class Met(Event):
    left: int
    right: int
    by: int


class BranchedFlow(SimulatedFlow, workflow="simulated"):
    """See the module."""

    @step
    async def begin(self, ctx: Context, ev: Order) -> list[Branch]:  # type: ignore[override]
        by = await self._work(ctx, "begin", 0, ev.fails)
        return await self._branches(ctx, ev, by)

    @step
    async def note(self, ctx: Context, ev: Branch) -> list[Part] | None:  # type: ignore[override]
        by = await self._work(ctx, "note", ev.by, ev.fails)
        return self._parts(ev, by)

    @step(num_workers=2)
    async def shape(self, ctx: Context, ev: Part) -> Whole | None:  # type: ignore[override]
        by = await self._work(ctx, "shape", ev.by, ev.fails)
        return self._whole(ev, by)

    @step
    async def bind(self, ctx: Context, wholes: list[Whole]) -> Bound:
        by = await self._work(ctx, "bind", [one.by for one in wholes], "")
        return self._bound(ctx, wholes, by)

    @step
    async def left(self, ctx: Context, ev: Bound) -> Left:
        return Left(number=ev.number, by=await self._work(ctx, "left", ev.by, ""))

    @step
    async def right(self, ctx: Context, ev: Bound) -> Right:
        return Right(number=ev.number, by=await self._work(ctx, "right", ev.by, ""))

    @step
    async def meet(self, ctx: Context, left: Left, right: Right) -> Met:
        by = await self._work(ctx, "meet", [left.by, right.by], "")
        return Met(left=left.number, right=right.number, by=by)

    @step
    async def tally(self, ctx: Context, ev: Branch) -> Met | None:
        by = await self._work(ctx, "tally", ev.by, ev.fails)
        branches = await ctx.store.get("branches")
        found = ctx.collect_events(ev, [Branch] * branches)
        if self._laboratory.world.random.random() < 0.3:
            await asyncio.sleep(self._laboratory.world.random.uniform(0, 0.5))
        if found is None:
            return None
        self._expect(ctx, "tally", sorted(one.get("number") for one in found), range(branches))
        return Met(left=_ALL, right=_ALL, by=by)

    @step
    async def first(self, ctx: Context, met: Annotated[list[Met], Collect(Take(2))]) -> Advice:
        by = await self._work(ctx, "first", [one.by for one in met], "")
        return self._first(ctx, met, by)

    @step
    async def end(self, ctx: Context, met: list[Met]) -> Done | None:  # type: ignore[override]
        fails = await ctx.store.get("fails")
        by = await self._work(ctx, "end", [one.by for one in met], fails)
        return await self._done(ctx, met, fails, by)

    # -- what the steps give ----------------------------------------------------------------------

    async def _branches(self, ctx: Context, order: Order, by: int) -> list[Branch]:
        await ctx.store.set("begun", by)
        await ctx.store.set("fails", order.fails)
        await ctx.store.set("branches", 2 * order.parts)
        return [Branch(number=n, fails=order.fails, by=by) for n in range(2 * order.parts)]

    def _parts(self, branch: Branch, by: int) -> list[Part] | None:
        if not _is_open(branch.number):
            return None
        numbers = (10 * branch.number + n for n in range(branch.number % 3))
        return [Part(number=number, fails=branch.fails, by=by) for number in numbers]

    def _whole(self, part: Part, by: int) -> Whole | None:
        if not _is_whole(part.number):
            return None
        return Whole(number=part.number, fails=part.fails, by=by)

    def _bound(self, ctx: Context, wholes: list[Whole], by: int) -> Bound:
        numbers = [one.number for one in wholes]
        branch = numbers[0] // 10 if numbers else _UNKNOWN
        self._expect(ctx, "bind", sorted(numbers), _wholes(branch))
        return Bound(number=branch, by=by)

    def _first(self, ctx: Context, met: list[Met], by: int) -> Advice:
        self._expect(ctx, "first", [len(met)], [2])
        return Advice(text="first", by=by)

    async def _done(self, ctx: Context, met: list[Met], fails: str, by: int) -> Done | None:
        branches = await ctx.store.get("branches")
        await ctx.write_event_to_stream(Advice(text=str(by)))
        for numbers in ([one.left for one in met], [one.right for one in met]):
            self._expect(ctx, "end", sorted(numbers), _bound(branches))
        if fails == "never":
            return None
        unreadable = ctx.run_id in self._laboratory.unreadable
        return Done(by=by, begun=await ctx.store.get("begun"), unreadable=unreadable)

    def _expect(self, ctx: Context, name: str, found: object, expected: object) -> None:
        if list(found) != list(expected):  # type: ignore[call-overload]
            told = f"{name} of {ctx.run_id} joins {found}, and {expected} is meant for it"
            self._laboratory.world.violate(told)


def _is_open(branch: int) -> bool:
    """Tell whether a branch goes on."""
    return branch % 4 != 3


def _is_whole(part: int) -> bool:
    return (part // 10 + part % 10) % 4 != 3


def _wholes(branch: int) -> list[int]:
    """Return the parts of a branch that reach its join."""
    if branch == _UNKNOWN:
        return []
    parts = (10 * branch + n for n in range(branch % 3))
    return [part for part in parts if _is_whole(part)]


def _bound(branches: int) -> list[int]:
    """Return what reaches the join of all branches."""
    open_ones = (branch for branch in range(branches) if _is_open(branch))
    return sorted([_ALL, *(branch if _wholes(branch) else _UNKNOWN for branch in open_ones)])


def branched(plan: Plan, *, damaged: bool) -> Plan:
    """Return the plan of a seed with fan-outs, if it has them.

    Not if its logs are *damaged*: a step whose result is lost runs again, and joins see it.
    """
    if damaged:
        return plan
    random = Random(f"branched {plan.seed}")
    busy = plan.compute.step > BUSY_SECONDS or plan.crowd is not None
    if random.random() > SHARE or plan.mix is not None or busy:
        return plan
    # A run has twenty steps here: they get through a slot before the history has to be over, and
    # a commit of them, which has more batches, through a broker that refuses some.
    longest = min(plan.longest, plan.slots * 0.1)
    return replace(plan, kind="branched", longest=longest, refusal=plan.refusal / 5)
