"""A script that runs the workflow of `beside_flow` on an app of its own, with an agent on it."""

# mypy: allow-untyped-defs
# Agents as in Faust's documentation, without annotations.

import asyncio
import json
import sys

import faust
from beside_flow import BesideFlow, JokeEvent

from fleet import StartEvent


async def main(app: faust.App, count: int) -> None:
    flow = BesideFlow(app=app, timeout=60)
    seen: asyncio.Queue[str] = asyncio.Queue()

    @app.agent(flow.topic(JokeEvent))
    async def watch(stream):
        async for event in stream.events():
            await seen.put(f"{event.key} {event.value.joke}")

    topics = [f"embedded-{number}" for number in range(count)]
    results = await asyncio.gather(*(flow.run(topic=each, run_id=each) for each in topics))
    await flow.topic(StartEvent).send(run_id="fed", value=StartEvent(topic="fed"))
    async with asyncio.timeout(60):
        shown = {"results": results, "seen": sorted([await seen.get() for _ in range(count + 1)])}
    sys.stdout.write(json.dumps(shown) + "\n")


if __name__ == "__main__":
    broker, name, folder, count = sys.argv[1:]
    asyncio.run(main(faust.App(name, broker=broker, datadir=folder), int(count)))
