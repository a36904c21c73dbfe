"""A workflow whose only step sleeps."""

from fleet import Context, StartEvent, StopEvent, Workflow, step


class NapFlow(Workflow, workflow="nap"):
    """Sleeps for as many seconds as its start event says."""

    @step
    async def nap(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await ctx.sleep(ev.get("seconds", 0))
        return StopEvent(result=ctx.attempt)
