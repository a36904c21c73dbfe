"""
The workflow of the histories in a later version, which has two more event types.

`shape` hands its part to a new step by an event of a new type, and a hint comes from outside. A
worker of the version before knows neither type, nor reads their topics.
"""

from fleet import Context, Event, step
from simulation import renamed
from simulation.branched import BranchedFlow
from simulation.caught import CaughtFlow
from simulation.edited import EditedFlow
from simulation.flow import Part, SimulatedFlow, Whole
from simulation.nested import NestedFlow
from simulation.paying import PayingFlow
from simulation.timed import TimedFlow
from simulation.waited import WaitedFlow


class Draft(Event):
    number: int
    fails: str
    by: int


class Hint(Event):
    text: str


class GrownFlow(SimulatedFlow, workflow="simulated"):
    """See the module."""

    @step(num_workers=1)
    async def shape(self, ctx: Context, ev: Part) -> Draft:  # type: ignore[override]
        by = await self._work(ctx, "shape", ev.by, ev.fails)
        return Draft(number=ev.number, fails=ev.fails, by=by)

    @step
    async def polish(self, ctx: Context, ev: Draft) -> Whole | Hint:
        by = await self._work(ctx, "polish", ev.by, ev.fails)
        return Whole(number=ev.number, fails=ev.fails, by=by)

    @step
    async def heed(self, ctx: Context, ev: Hint) -> None:
        by = await self._work(ctx, "heed", 0, "")
        await ctx.store.set("heeded", by)


#: What a worker may run: the workflow before the new event types, and with them; or another.
FLOWS: dict[str, type[SimulatedFlow]] = {
    "plain": SimulatedFlow,
    "grown": GrownFlow,
    "branched": BranchedFlow,
    "edited": EditedFlow,
    "timed": TimedFlow,
    "paying": PayingFlow,
    "caught": CaughtFlow,
    "waited": WaitedFlow,
    "nested": NestedFlow,
    renamed.later("timed"): renamed.renamed(TimedFlow),
    renamed.later("branched"): renamed.renamed(BranchedFlow),
}
