"""A workflow whose second step does what its start event says: `faust -A raising_flow worker`."""

import asyncio
import os
import sys

from pydantic import field_validator
from raises import KINDS, Panic

from fleet import Context, Event, StartEvent, StopEvent, Workflow, serve, step

#: A part with this text raises when it is read.
UNREADABLE = "unreadable"


class Order(StartEvent):
    poison: str = ""

    @field_validator("poison")
    @classmethod
    def _check(cls, poison: str) -> str:
        """End in a panic where a worker reads it: its sender is another process."""
        if poison == UNREADABLE and "worker" in sys.argv:
            raise Panic(poison)
        return poison


class Part(Event):
    poison: str


class RaisingFlow(Workflow):
    @step
    async def begin(self, ev: Order) -> Part:
        return Part(poison=ev.poison)

    @step
    async def work(self, ctx: Context, ev: Part) -> StopEvent:
        if make := KINDS.get(ev.poison):
            error = make()
            raise error
        if ev.poison == "cancel":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        if ev.poison == "kill":
            os._exit(9)
        await asyncio.sleep(0.01)
        return StopEvent(result="x" * (2_000_000 if ev.poison == "large" else 1))


app = serve(RaisingFlow)
