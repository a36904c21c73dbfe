"""Runs of one workflow at once: each has its own events, state, stream and end."""

from fleet import Context, Event, StartEvent, StopEvent, Workflow, step


class Note(Event):
    text: str
    branch: str = ""


class Move(Event):
    to: int


class Stuck(RuntimeError):
    """Raised when a walk comes to a wall."""


class Concurrent(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Move:
        await ctx.store.set("goal", ev.goal)
        await ctx.store.set("path", [])
        ctx.write_event_to_stream(Note(text=f"to {ev.goal}"))
        return Move(to=1)

    @step
    async def move(self, ctx: Context, ev: Move) -> Move | StopEvent:
        path = [*await ctx.store.get("path"), ev.to]
        await ctx.store.set("path", path)
        ctx.write_event_to_stream(Note(text=f"at {ev.to}"))
        if ev.to == 13:
            raise Stuck(f"at {ev.to} of {await ctx.store.get('goal')}")
        if ev.to == await ctx.store.get("goal"):
            return StopEvent(result=path)
        return Move(to=ev.to + 1)


FLOW = "Concurrent"
#: All at once.
TOGETHER = True
INPUTS = [{"goal": goal} for goal in (1, 2, 3, 5, 8, 12, 20)]
