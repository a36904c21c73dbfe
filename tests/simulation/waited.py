"""
The workflow of histories whose steps wait for events; a share of the seeds has it.

`shape` waits twice for a nod with the number of its part, and `note` for any advice, which `listen`
takes, too. Callers nod early, late, more often than is waited for, and for parts that never come.
"""

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import NamedTuple

from fleet import Context, Event, HumanResponseEvent, InputRequiredEvent, step
from simulation.flow import Advice, Heard, Part, SimulatedFlow, Whole
from simulation.plan import LONG, Plan
from simulation.poisoned import BUSY_SECONDS

#: Share of the seeds.
SHARE = 0.08
#: How long `shape` and `note` wait, in seconds.
PATIENCE, SHORT_PATIENCE = 30.0, 4.0
TURNS = 2


class Query(InputRequiredEvent):
    number: int
    turn: int


class Nod(HumanResponseEvent):
    number: int
    #: Of this nod alone.
    token: str


class PlannedNod(NamedTuple):
    """A nod that a caller sends, or a client that does not know the workflow."""

    at: float
    run_id: str
    number: int
    token: str
    #: Its number; None: the client.
    caller: int | None


class WaitedFlow(SimulatedFlow, workflow="simulated"):
    """See the module."""

    @step(num_workers=2)
    async def shape(self, ctx: Context, ev: Part) -> Whole:
        by = await self._work(ctx, "shape", ev.by, ev.fails)
        self._take(ev, by)
        for turn in range(TURNS):
            query, name = Query(number=ev.number, turn=turn), f"turn {turn}"
            nod: Nod | None
            try:
                nod = await ctx.wait_for_event(
                    Nod, query, name, {"number": ev.number}, timeout=PATIENCE
                )
            except TimeoutError:
                nod = None
            self._hear(ctx, name, nod)
            if nod is not None and nod.number != ev.number:
                self._laboratory.world.violate(f"part {ev.number} gets the nod {nod.token}")
        return Whole(number=ev.number, fails=ev.fails, by=by)

    @step
    async def note(self, ctx: Context, ev: Part) -> Advice | None:
        by = await self._work(ctx, "note", ev.by, ev.fails)
        self._take(ev, by)
        advice: Event | None
        try:
            advice = await ctx.wait_for_event(Advice, timeout=SHORT_PATIENCE)
        except TimeoutError:
            advice = None
        self._hear(ctx, "advice", advice)
        await ctx.store.set(f"noted.{ev.number}", by)
        return Advice(text="noted", by=by) if ev.number else None

    def _hear(self, ctx: Context, wait: str, event: Event | None) -> None:
        given = "" if event is None else str(event.model_dump())
        self._laboratory.on_heard(Heard(self._worker, ctx.run_id, ctx.idempotency_key, wait, given))


def waited(plan: Plan, *, damaged: bool) -> Plan:
    """Return the plan of a seed with steps that wait for events, if it has them.

    Not if its logs are *damaged*: an answer that is lost ends no wait.
    """
    random = Random(f"waited {plan.seed}")
    if damaged or plan.kind != "plain" or random.random() > SHARE:
        return plan
    busy = plan.compute.step > BUSY_SECONDS or plan.crowd is not None
    if plan.mix is not None or busy or any(run.raises for run in plan.runs):
        return plan
    # What comes long before its run is forgotten where ended runs are.
    return replace(plan, kind="waited", dedupe_seconds=LONG)


def nods(plan: Plan) -> Iterator[PlannedNod]:
    """Yield what callers answer."""
    random = Random(f"nods {plan.seed}")
    for run in plan.runs:
        begins = min(call.at for call in run.calls)
        for number in range(max(call.parts for call in run.calls) + 1):
            for count in range(random.choice((0, 1, TURNS, TURNS, TURNS + 1))):
                at = max(0.5, begins + random.uniform(-1, 15))
                caller = random.choice((0, 1, None))
                token = f"{run.run_id} {number} {count}"
                yield PlannedNod(at, run.run_id, number, token, caller)
