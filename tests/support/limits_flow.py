"""Runs that hold each other up, or would: `faust -A limits_flow worker`."""

import asyncio
import os
import threading
import time

from fleet import Context, Event, StartEvent, StopEvent, Workflow, serve, step


class Part(Event):
    number: int


class LimitsFlow(Workflow, workflow="limits"):
    """A run does what its start event says."""

    #: Runs whose step works now.
    working = 0

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Part | StopEvent | None:
        parts = ev.get("parts", 0)
        for number in range(parts):
            ctx.send_event(Part(number=number))
        if parts:
            return None
        if ev.get("seconds") is not None:
            LimitsFlow.working += 1
            at_once = LimitsFlow.working
            await asyncio.sleep(ev.get("seconds"))
            LimitsFlow.working -= 1
            return StopEvent(result=at_once)
        return Part(number=-1)

    @step
    async def take(self, ev: Part) -> StopEvent | None:
        if ev.number == -1:
            return StopEvent(result="cool")
        await asyncio.sleep(0.5)
        return None


class ThreadFlow(Workflow, workflow="threads"):
    """Its step blocks a thread."""

    @step
    def block(self, ctx: Context, ev: StartEvent) -> StopEvent:
        ctx.write_event_to_stream(Part(number=1))
        time.sleep(ev.get("seconds"))
        return StopEvent(result=threading.current_thread().name)


app = serve(
    ThreadFlow
    if "threads" in os.environ.get("FLEET_PREFIX", "")
    else LimitsFlow(num_concurrent_runs=int(os.environ.get("LIMITS_RUNS", "0")) or None)
)
