"""The workflow that the steps of `nested_parent_flow` run: it sleeps, and gives its number."""

from fleet import Context, Event, StartEvent, StopEvent, Workflow, serve, step


class Number(StartEvent):
    number: int
    seconds: float = 2.0
    #: Whether it fails.
    bad: bool = False


class Rested(Event):
    number: int
    bad: bool


class Doubled(StopEvent):
    number: int


class ChildFlow(Workflow[Doubled], workflow="nestedchild"):
    """Sleeps, then doubles."""

    @step
    async def rest(self, ctx: Context, ev: Number) -> Rested:
        await ctx.sleep(ev.seconds)
        return Rested(number=ev.number, bad=ev.bad)

    @step
    async def double(self, ev: Rested) -> Doubled:
        if ev.bad:
            raise LookupError(f"number {ev.number} is bad")
        return Doubled(number=2 * ev.number)


app = serve(ChildFlow)
