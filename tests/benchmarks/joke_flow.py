"""
The joke flow on Fleet; the program that serves it is under `programs`.

The context holds the topic between the two steps, as the table of plain Faust does.
"""

import asyncio
import os

from benchmarks import answers
from fleet import Context, Event, StopEvent, Workflow, step

SECONDS = float(os.environ.get("BENCH_STEP_SECONDS", "0"))


class StartEvent(Event):
    topic: str


class JokeEvent(Event):
    joke: str


class Verdict(StopEvent):
    verdict: str
    #: The process that made it: who does what is told apart by it.
    worker: int


class JokeFlow(Workflow[Verdict]):
    @step
    async def tell(self, ctx: Context, ev: StartEvent) -> JokeEvent:
        await asyncio.sleep(SECONDS)
        await ctx.store.set("topic", ev.topic)
        return JokeEvent(joke=answers.joke(ev.topic))

    @step
    async def judge(self, ctx: Context, ev: JokeEvent) -> Verdict:
        await asyncio.sleep(SECONDS)
        if answers.joke(await ctx.store.get("topic")) != ev.joke:
            return Verdict(verdict="the context is of another run", worker=os.getpid())
        return Verdict(verdict=answers.verdict(ev.joke), worker=os.getpid())
