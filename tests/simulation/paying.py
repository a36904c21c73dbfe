"""
The workflow of histories whose steps record their calls; a share of the seeds has it.

Each call has a number of its own, and that number is what it gives. So a promise is broken by a
call for which a value was given before, by two values of one account, by two calls of an attempt,
and by a call whose effect a reconciler would have found.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from random import Random
from typing import Literal, NamedTuple

from fleet import NOT_DONE, Context, step
from fleet.records.calls import Call
from simulation.flow import Advice, Part, SimulatedFlow, Whole
from simulation.plan import Plan
from simulation.poisoned import BUSY_SECONDS

#: Share of the seeds.
SHARE = 0.06
#: It takes none of the histories from which mutations are searched.
_DRAW = "paying 264"
#: Share of these in which steps refuse answers, too.
_ASKS, _ASKING = "asks 11", 0.5
#: How many calls raise.
FAILING = 0.1


class Busy(Exception):
    """The service of a call has no time now."""


class Account(NamedTuple):
    """What is to be paid once, and the attempt that asks."""

    name: str
    worker: str
    run_id: str
    scope: str


@dataclass
class Buyer:
    """One attempt, and how often it has called for each account."""

    ctx: Context
    worker: str
    calls: Counter[str]


class PayingFlow(SimulatedFlow, workflow="simulated"):
    """See the module."""

    @step(num_workers=3)
    async def shape(self, ctx: Context, ev: Part) -> Whole:
        buyer = Buyer(ctx, self._worker, Counter())
        await asyncio.gather(self._pay(buyer, "first"), self._pay(buyer, "first"))
        by = await self._work(ctx, "shape", ev.by, ev.fails)
        self._take(ev, by)
        await self._pay(buyer, "order", reconciles=True)
        await self._pay(buyer, "shared", scope="run", life=f" {ev.by}")
        return Whole(number=ev.number, fails=ev.fails, by=by)

    @step
    async def note(self, ctx: Context, ev: Part) -> Advice | None:
        await self._ask(ctx)
        buyer = Buyer(ctx, self._worker, Counter())
        await self._pay(buyer, "shared", scope="run", life=f" {ev.by}")
        by = await self._work(ctx, "note", ev.by, ev.fails)
        self._take(ev, by)
        await self._pay(buyer, "first")
        await ctx.store.set(f"noted.{ev.number}", by)
        return Advice(text="noted", by=by) if ev.number else None

    async def _ask(self, ctx: Context) -> None:
        """Ask as a model is asked: if the step raises then, its answer is set aside."""
        payments, make = self._laboratory.payments, ctx._surroundings.calls
        assert payments is not None
        assert make is not None
        if payments.asks:
            calls, call = make(), Call("llm", "ask 1")
            with calls.asking(call):
                if await calls.read(call) is None:
                    await calls.record(call, b"1")

    async def _pay(
        self,
        buyer: Buyer,
        key: str,
        *,
        scope: Literal["step", "run"] = "step",
        reconciles: bool = False,
        life: str = "",
    ) -> None:
        payments, ctx = self._laboratory.payments, buyer.ctx
        assert payments is not None
        owner = ctx.idempotency_key if scope == "step" else f"{ctx.run_id}{life}"
        account = Account(f"{key} of {owner}", buyer.worker, ctx.run_id, scope)

        async def call() -> int:
            number = payments.begin(account, buyer.calls)
            await self._take_time()
            if payments.random() < FAILING:
                buyer.calls[account.name] -= 1
                raise Busy
            payments.happen(account, number)
            await self._take_time()
            return number

        async def look() -> int:
            await self._take_time()
            found: int = payments.effects.get(account.name, NOT_DONE)
            return found

        while True:
            try:
                given = await ctx.memo(
                    key, call, scope=scope, reconcile=look if reconciles else None
                )
            except Busy:
                continue
            payments.give(account, given)
            return

    async def _take_time(self) -> None:
        random = self._laboratory.world.random
        if random.random() < 0.5:
            await asyncio.sleep(random.uniform(0, 0.5))


def asks(seed: int) -> bool:
    """Tell whether steps of a history refuse answers, too."""
    return Random(f"{_ASKS} {seed}").random() < _ASKING


def paying(plan: Plan, *, damaged: bool) -> Plan:
    """Return the plan of a seed with recorded calls, if it has them.

    Not if its logs are *damaged*: a step whose result is lost calls again.
    """
    random = Random(f"{_DRAW} {plan.seed}")
    if damaged or plan.kind != "plain" or random.random() > SHARE:
        return plan
    if plan.mix is not None or plan.compute.step > BUSY_SECONDS or plan.crowd is not None:
        return plan
    return replace(plan, kind="paying", refusal=plan.refusal / 2)
