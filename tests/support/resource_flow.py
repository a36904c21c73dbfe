"""
A workflow with resources, which writes what happens into RESOURCE_LOG: `faust -A resource_flow
worker`, or, on an app of its own, `python resource_flow.py BROKER NAME FOLDER`.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import faust

from fleet import Resource, StartEvent, StopEvent, Workflow, serve, step

LOG = Path(os.environ["RESOURCE_LOG"])


def note(text: str) -> None:
    with LOG.open("a") as log:
        log.write(f"{text}\n")


async def get_pool() -> AsyncIterator[str]:
    note("pool opens")
    yield "pool"
    # Closing a connection takes turns of the loop.
    await asyncio.sleep(0.05)
    note("pool closes")


async def get_session(pool: Annotated[str, Resource(get_pool)]) -> AsyncIterator[str]:
    note("session opens")
    try:
        yield f"session of {pool}"
    finally:
        note("session closes")


class ResourceFlow(Workflow):
    @step
    async def work(
        self,
        ev: StartEvent,
        pool: Annotated[str, Resource(get_pool)],
        session: Annotated[str, Resource(get_session, cache=False)],
    ) -> StopEvent:
        if ev.get("waits"):
            note("step waits")
            await asyncio.sleep(1)
            note("step ends")
        return StopEvent(result=session)


async def main(app: faust.App) -> None:
    flow = ResourceFlow(app=app, timeout=60)
    await asyncio.gather(*(flow.run() for _ in range(10)))
    note("main ends")


if __name__ == "__main__":
    broker, name, folder = sys.argv[1:]
    asyncio.run(main(faust.App(name, broker=broker, datadir=folder)))
else:
    app = serve(ResourceFlow)
