"""
The joke flow on plain Faust: `faust -A benchmarks.programs.faust_joke worker`.

BENCH_CONCURRENCY=1 keeps the topic in a table between the steps. More is without the table, which
Faust does not allow there.
"""

import asyncio
import os
from typing import Any

import faust

from benchmarks import answers, bound, topics

PREFIX = os.environ["BENCH_PREFIX"]
SECONDS = float(os.environ["BENCH_STEP_SECONDS"])
CONCURRENCY = int(os.environ["BENCH_CONCURRENCY"])
PARTITIONS = int(os.environ["BENCH_PARTITIONS"])

bound.begin()
app = faust.App(
    PREFIX,
    broker=f"kafka://{os.environ['BENCH_BOOTSTRAP']}",
    store="rocksdb://?driver=rocksdict",
    topic_partitions=PARTITIONS,
    datadir=os.environ["BENCH_FOLDER"],
)


def topic(name: str) -> Any:
    """Return one of the flow's topics: keys as bytes, values as JSON."""
    return app.topic(
        f"{PREFIX}.{name}",
        key_type=bytes,
        key_serializer="raw",
        value_serializer="json",
        partitions=PARTITIONS,
    )


starts, jokes, done = topic(topics.START), topic(topics.JOKE), topic(topics.DONE)
told: Any = app.Table("told", key_type=str, partitions=PARTITIONS) if CONCURRENCY == 1 else None


@app.agent(starts, concurrency=CONCURRENCY)  # type: ignore[misc, untyped-decorator, unused-ignore]
async def tell(stream: Any) -> None:
    """Take starts, send jokes."""
    async for key, event in stream.items():
        await asyncio.sleep(SECONDS)
        if told is not None:
            told[key.decode()] = event["topic"]
        await jokes.send(key=key, value={"joke": answers.joke(event["topic"])})


@app.agent(jokes, concurrency=CONCURRENCY)  # type: ignore[misc, untyped-decorator, unused-ignore]
async def judge(stream: Any) -> None:
    """Take jokes, send verdicts."""
    async for key, event in stream.items():
        await asyncio.sleep(SECONDS)
        verdict = answers.verdict(event["joke"])
        if told is not None and answers.joke(told.pop(key.decode())) != event["joke"]:
            verdict = "the table is of another run"
        await done.send(key=key, value={"verdict": verdict})
