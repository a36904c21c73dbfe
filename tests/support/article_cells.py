"""
The article's cells, each a function: `python article_cells.py CELL BROKER NAME FOLDER`.

In structure as they were published; the imports and the language model differ. Each prints what it
got as JSON.
"""

# mypy: allow-untyped-defs
# The article's agents have no annotations.

import asyncio
import json
import sys
import warnings
from pathlib import Path

import faust
from article_llm import llm

from fleet import Event, StartEvent, StopEvent, Workflow, draw_workflow, step
from fleet.host import web_port

Shown = dict[str, object]


def new_app(broker: str, name: str, folder: str) -> faust.App:
    app = faust.App(name, broker=broker, datadir=folder, store="memory://")
    web_port.choose_port(app)
    return app


# -- (1) a class-style flow, in memory --------------------------------------------------------


class JokeEvent(Event):
    joke: str


class JokeFlow(Workflow):
    @step
    async def generate_joke(self, ev: StartEvent) -> JokeEvent:
        prompt = f"Write your best joke about {ev.get('topic')}."
        return JokeEvent(joke=str(await llm.acomplete(prompt)))

    @step
    async def critique_joke(self, ev: JokeEvent) -> StopEvent:
        prompt = f"Give a thorough analysis and critique of the following joke: {ev.joke}"
        return StopEvent(result=str(await llm.acomplete(prompt)))


async def class_style(broker: str, name: str, folder: str) -> Shown:
    w = JokeFlow(timeout=60, app=None)
    result = await w.run(topic="pirates")
    return {"result": str(result)}


# -- (2) and (3) channels and sinks; start, send, collect, stop --------------------------------


async def channels(broker: str, name: str, folder: str) -> Shown:
    app = new_app(broker, name, folder)
    JokeFlow(app=app)
    topic_channel = app.channel(value_type=str)
    joke_channel = app.channel(value_type=str)
    collected: asyncio.Queue[str] = asyncio.Queue()

    @app.agent(joke_channel, sink=[collected.put])
    async def critique_joke(jokes):
        async for joke in jokes:
            yield await llm.acomplete(f"Give a critique of the joke: {joke}")

    @app.agent(topic_channel, sink=[joke_channel])
    async def generate_joke(topics):
        async for topic in topics:
            yield await llm.acomplete(f"Write your best joke about {topic}.")

    await app.start()
    await topic_channel.send(value="pirates")
    await generate_joke.send(value="cats")
    await generate_joke.cast(value="dogs")
    results = [await collected.get() for _ in range(3)]
    await app.stop()
    return {"results": sorted(results)}


async def agents_as_sinks(broker: str, name: str, folder: str) -> Shown:
    app = new_app(broker, name, folder)
    JokeFlow(app=app)
    topics = app.topic(f"{name}-topics", value_type=str)
    critiques = app.topic(f"{name}-critiques", value_type=str)
    collected: asyncio.Queue[str] = asyncio.Queue()

    @app.agent(critiques)
    async def collect(texts):
        async for text in texts:
            await collected.put(text)

    @app.agent(sink=[critiques])
    async def critique_joke(jokes):
        async for joke in jokes:
            yield await llm.acomplete(f"Give a critique of the joke: {joke}")

    @app.agent(topics, sink=[critique_joke])
    async def generate_joke(several):
        async for topic in several:
            yield await llm.acomplete(f"Write your best joke about {topic}.")

    await app.start()
    for topic in ("pirates", "cats"):
        await topics.send(value=topic)
    answer = await critique_joke.ask(value="asked")
    results = [await collected.get() for _ in range(3)]
    await app.stop()
    return {"results": sorted(results), "answer": answer}


# -- (4) context in records and in a table ------------------------------------------------------


class Joke(faust.Record):
    topic: str
    joke: str = ""
    critique: str = ""


async def context_in_records(broker: str, name: str, folder: str) -> Shown:
    app = new_app(broker, name, folder)
    JokeFlow(app=app)
    topics = app.topic(f"{name}-topics", value_type=Joke)
    jokes = app.topic(f"{name}-jokes", value_type=Joke)
    collected: asyncio.Queue[Joke] = asyncio.Queue()

    @app.agent(jokes, sink=[collected.put])
    async def critique_joke(several):
        async for joke in several:
            critique = await llm.acomplete(f"Critique {joke.joke}")
            yield Joke(topic=joke.topic, joke=joke.joke, critique=critique)

    @app.agent(topics, sink=[jokes])
    async def generate_joke(several):
        async for joke in several:
            yield Joke(topic=joke.topic, joke=await llm.acomplete(f"A joke about {joke.topic}"))

    await app.start()
    await topics.send(value=Joke(topic="pirates"))
    joke = await collected.get()
    await app.stop()
    return {"topic": joke.topic, "joke": joke.joke, "critique": joke.critique}


async def context_in_a_table(broker: str, name: str, folder: str) -> Shown:
    app = new_app(broker, name, folder)
    JokeFlow(app=app)
    topics = app.topic(f"{name}-topics", key_type=str, value_type=str)
    jokes = app.topic(f"{name}-jokes", key_type=str, value_type=str)
    context = app.Table("context", default=dict)
    collected: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    @app.agent(topics)
    async def generate_joke(stream):
        async for run, topic in stream.items():
            known = context[run]
            known["topic"] = topic
            context[run] = known
            await jokes.send(key=run, value=await llm.acomplete(f"A joke about {topic}"))

    @app.agent(jokes)
    async def critique_joke(stream):
        async for run, joke in stream.items():
            known = context[run]
            known["critique"] = await llm.acomplete(f"Critique {joke} about {known['topic']}")
            context[run] = known
            await collected.put(dict(known))

    await app.start()
    await topics.send(key="run-1", value="pirates")
    known = await collected.get()
    await app.stop()
    return dict(known)


# -- (5) the join -------------------------------------------------------------------------------


class Joined(faust.Record):
    apple: str
    orange: str


async def join(broker: str, name: str, folder: str) -> Shown:  # noqa: C901 - one cell
    app = new_app(broker, name, folder)
    JokeFlow(app=app)
    apples = app.topic(f"{name}-apples", key_type=str, value_type=str)
    oranges = app.topic(f"{name}-oranges", key_type=str, value_type=str)
    joined = app.topic(f"{name}-joined", key_type=str, value_type=Joined)
    apple_table = app.Table("apples", default=str)
    orange_table = app.Table("oranges", default=str)
    collected: asyncio.Queue[tuple[str, Joined]] = asyncio.Queue()

    async def join_if_both(key: str) -> None:
        if key in apple_table and key in orange_table:
            value = Joined(apple=apple_table[key], orange=orange_table[key])
            del apple_table[key]
            del orange_table[key]
            await joined.send(key=key, value=value)

    @app.agent(apples)
    async def take_apples(stream):
        async for key, apple in stream.items():
            apple_table[key] = apple
            await join_if_both(key)

    @app.agent(oranges)
    async def take_oranges(stream):
        async for key, orange in stream.items():
            orange_table[key] = orange
            await join_if_both(key)

    @app.agent(joined)
    async def collect(stream):
        async for key, value in stream.items():
            await collected.put((key, value))

    await app.start()
    for number in range(10):
        await apples.send(key=f"k{number}", value=f"apple {number}")
    for number in reversed(range(9)):
        await oranges.send(key=f"k{number}", value=f"orange {number}")
    pairs = [await collected.get() for _ in range(9)]
    left = [sorted(apple_table.keys()), sorted(orange_table.keys())]
    await app.stop()
    return {"pairs": sorted([key, each.apple, each.orange] for key, each in pairs), "left": left}


# -- (6) a workflow on the app ------------------------------------------------------------------


class TopicEvent(Event):
    topic: str


class CritiqueEvent(Event):
    result: str


class FaustJokeFlow(Workflow):
    result_event_type = CritiqueEvent

    @step
    async def generate_joke(self, ev: TopicEvent) -> JokeEvent:
        return JokeEvent(joke=await llm.acomplete(f"Write your best joke about {ev.topic}."))

    @step
    async def critique_joke(self, ev: JokeEvent) -> CritiqueEvent:
        return CritiqueEvent(result=await llm.acomplete(f"Critique the joke: {ev.joke}"))


async def faust_workflow(broker: str, name: str, folder: str) -> Shown:
    StartEvent = TopicEvent  # noqa: N806 - the article's own StartEvent, beside cell (1)'s
    app = new_app(broker, name, folder)
    wf = FaustJokeFlow(app=app, timeout=120)
    result = await wf.run(StartEvent(topic="pirates"))
    return {"result": result.result, "type": type(result).__name__}


# -- (7) a drawing ------------------------------------------------------------------------------


async def drawing(broker: str, name: str, folder: str) -> Shown:
    wf = JokeFlow(timeout=60)
    file = Path(folder) / "joke.html"
    draw_workflow(wf, to=file)
    return {"names": [each for each in ("generate_joke", "JokeEvent") if each in file.read_text()]}


CELLS = {
    each.__name__: each
    for each in (
        class_style,
        channels,
        agents_as_sinks,
        context_in_records,
        context_in_a_table,
        join,
        faust_workflow,
        drawing,
    )
}

if __name__ == "__main__":
    warnings.simplefilter("default")
    cell, *arguments = sys.argv[1:]
    Path(arguments[2]).mkdir(parents=True, exist_ok=True)
    shown = asyncio.run(CELLS[cell](*arguments))
    sys.stdout.write(json.dumps(shown) + "\n")
