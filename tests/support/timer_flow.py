"""
A workflow whose steps wait for a while: `faust -A timer_flow worker`.

TIMER_SECONDS is how long each step takes. A topic that holds "bad" makes the second step fail; the
topic "late" keeps the first one busy until its run is ended.
"""

import asyncio
import os

from fleet import Context, Event, StartEvent, StopEvent, Workflow, serve, step

SECONDS = float(os.environ.get("TIMER_SECONDS", "0"))


class JokeEvent(Event):
    joke: str


class Judgement(StopEvent):
    verdict: str
    topic: str


class TimerFlow(Workflow):
    @step
    async def tell(self, ctx: Context, ev: StartEvent) -> JokeEvent:
        await asyncio.sleep(3_600 if ev.get("topic") == "late" else SECONDS)
        await ctx.store.set("told.topic", ev.get("topic"))
        return JokeEvent(joke=f"a joke about {ev.get('topic')}")

    @step
    async def judge(self, ctx: Context, ev: JokeEvent) -> Judgement:
        if "bad" in ev.joke:
            raise LookupError(f"nothing to laugh at in {ev.joke}")
        await ctx.write_event_to_stream(ev)
        await asyncio.sleep(SECONDS)
        topic = await ctx.store.get("told.topic")
        return Judgement(verdict=f"good: {ev.joke}", topic=topic)


app = serve(TimerFlow)
