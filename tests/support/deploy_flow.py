"""
A workflow in three versions that are deployed one after another: `faust -A deploy_flow worker`.

DEPLOY_VERSION: `plain`; `grown` has one event type more and sends it; `retiring` still takes it and
sends it no more, after which `plain` may come back. Each attempt of a step adds a line to
DEPLOY_JOURNAL: when it began, run, step, worker.
"""

import asyncio
import os
import time

from fleet import Context, Event, StartEvent, StopEvent, Workflow, serve, step

#: How long a step takes, in seconds.
STEP_SECONDS = 0.2


class Part(Event):
    topic: str


class Middle(Event):
    topic: str


async def _work(ctx: Context, name: str) -> None:
    line = f"{time.time():.6f} {ctx.run_id} {name} {os.environ.get('DEPLOY_WORKER', '')}\n"
    journal = os.open(os.environ["DEPLOY_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(journal, line.encode())
    finally:
        os.close(journal)
    await asyncio.sleep(STEP_SECONDS)


class Plain(Workflow, workflow="deployed"):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Part:
        await _work(ctx, "begin")
        await ctx.store.set("topic", ev.get("topic"))
        return Part(topic=ev.get("topic"))

    @step
    async def shape(self, ctx: Context, ev: Part) -> StopEvent:
        await _work(ctx, "shape")
        return StopEvent(result=[ev.topic, await ctx.store.get("topic")])


class Grown(Workflow, workflow="deployed"):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Part:
        await _work(ctx, "begin")
        await ctx.store.set("topic", ev.get("topic"))
        return Part(topic=ev.get("topic"))

    @step
    async def shape(self, ctx: Context, ev: Part) -> Middle:
        await _work(ctx, "shape")
        return Middle(topic=ev.topic)

    @step
    async def finish(self, ctx: Context, ev: Middle) -> StopEvent:
        await _work(ctx, "finish")
        return StopEvent(result=[ev.topic, await ctx.store.get("topic")])


class Retiring(Workflow, workflow="deployed"):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Part:
        await _work(ctx, "begin")
        await ctx.store.set("topic", ev.get("topic"))
        return Part(topic=ev.get("topic"))

    @step
    async def shape(self, ctx: Context, ev: Part) -> Middle | StopEvent:
        await _work(ctx, "shape")
        return StopEvent(result=[ev.topic, await ctx.store.get("topic")])

    @step
    async def finish(self, ctx: Context, ev: Middle) -> StopEvent:
        await _work(ctx, "finish")
        return StopEvent(result=[ev.topic, await ctx.store.get("topic")])


VERSIONS: dict[str, type[Workflow]] = {"plain": Plain, "grown": Grown, "retiring": Retiring}

app = serve(VERSIONS[os.environ.get("DEPLOY_VERSION", "plain")])
