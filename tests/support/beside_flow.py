"""
A served workflow with Faust agents beside it: `faust -A beside_flow worker`.

COUNT_FILE gets a line for each step that runs. TABLE_STORE is where the table's data lies.
STUCK=1 makes the agent that reads the workflow's events stop at its first one for ever, and
STUCK_COUNT=1 the one that counts words.
"""

# mypy: allow-untyped-defs
# Agents as in Faust's documentation, without annotations.

import asyncio
import itertools
import os
from pathlib import Path

from fleet import Context, Event, StartEvent, StopEvent, Workflow, serve, step

COUNT_FILE = Path(os.environ.get("COUNT_FILE", os.devnull))
SEEN_FILE = Path(os.environ.get("SEEN_FILE", os.devnull))
PREFIX = os.environ.get("FLEET_PREFIX", "fleet")


def note(file: Path, *words: str) -> None:
    with file.open("a") as opened:
        opened.write(" ".join(words) + "\n")


class JokeEvent(Event):
    joke: str


class BesideFlow(Workflow, workflow="beside"):
    @step
    async def tell(self, ctx: Context, ev: StartEvent) -> JokeEvent:
        note(COUNT_FILE, ctx.run_id, "tell")
        return JokeEvent(joke=f"a joke about {ev.get('topic')}")

    @step
    async def judge(self, ctx: Context, ev: JokeEvent) -> StopEvent:
        note(COUNT_FILE, ctx.run_id, "judge")
        return StopEvent(result=f"good: {ev.joke}")


app = serve(BesideFlow)
flow = app.workflow

words = app.topic(f"{PREFIX}-words", key_type=str, value_type=str)
counted = app.topic(f"{PREFIX}-counted", key_type=str)
orders = app.topic(f"{PREFIX}-orders", key_type=str, value_type=str)
counts = app.Table("counts", default=int, store=os.environ.get("TABLE_STORE", "memory://"))
ticks = itertools.count()


@app.agent(words)
async def count(stream):
    async for word, what in stream.items():
        if os.environ.get("STUCK_COUNT"):
            await asyncio.Event().wait()
        if what == "forget":
            del counts[word]
            await counted.send(key=word, value=0)
        else:
            counts[word] += 1
            await counted.send(key=word, value=counts[word])


@app.agent(orders, sink=[flow.topic(StartEvent)])
async def order(stream):
    async for topic in stream:
        yield StartEvent(topic=topic)


@app.agent(flow.topic(JokeEvent))
async def watch(stream):
    async for event in stream.events():
        assert isinstance(event.value, JokeEvent)
        if os.environ.get("STUCK"):
            note(SEEN_FILE, event.key, "stuck")
            await asyncio.Event().wait()
        note(SEEN_FILE, event.key, event.value.joke)


@app.timer(0.1)
async def tick():
    next(ticks)


@app.page("/beside")
async def beside(self, request):
    return self.json({"ticks": next(ticks), "messages": app.monitor.messages_received_total})
