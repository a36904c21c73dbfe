"""Annotations that are strings until they are read."""

from __future__ import annotations

from fleet import Context, Event, StartEvent, StopEvent, Workflow, step


class Later(Event):
    n: int


class Postponed(Workflow):
    """Has annotations that nothing has evaluated yet."""

    @step
    async def begin(self, ev: StartEvent) -> Later:
        return Later(n=1)

    @step
    async def end(self, ctx: Context, ev: Later) -> StopEvent | None:
        return StopEvent(result=f"later {ev.n}")
