# mypy: disable-error-code="import-not-found, misc, untyped-decorator"
# It is checked also where the package is not installed.
"""The joke flow on LlamaIndex Workflows; the context holds the topic between the steps."""

import asyncio
import os

from workflows import Context, Workflow, step
from workflows.events import Event, StartEvent, StopEvent

from benchmarks import answers

SECONDS = float(os.environ["BENCH_STEP_SECONDS"])


class JokeEvent(Event):
    joke: str


class JokeFlow(Workflow):
    @step
    async def tell(self, ctx: Context, ev: StartEvent) -> JokeEvent:
        await asyncio.sleep(SECONDS)
        await ctx.store.set("topic", ev.topic)
        return JokeEvent(joke=answers.joke(ev.topic))

    @step
    async def judge(self, ctx: Context, ev: JokeEvent) -> StopEvent:
        await asyncio.sleep(SECONDS)
        if answers.joke(await ctx.store.get("topic")) != ev.joke:
            return StopEvent(result="the context is of another run")
        return StopEvent(result=answers.verdict(ev.joke))


flow = JokeFlow(timeout=600)


async def run(topic: str) -> str:
    """Do one run."""
    return str(await flow.run(topic=topic))
