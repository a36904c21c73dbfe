"""
The fan-out on plain Faust: `faust -A benchmarks.programs.faust_fan_out worker`.

A hundred actors take parts; one takes what came of them, since only then may it have a table, in
which it gathers. A part that comes twice after a crash is gathered twice: a table has no such key.
"""

import asyncio
import os
from typing import Any

import faust

from benchmarks import bound, fan_out, topics

PREFIX = os.environ["BENCH_PREFIX"]
SECONDS = float(os.environ["BENCH_STEP_SECONDS"])
PARTITIONS = int(os.environ["BENCH_PARTITIONS"])
BRANCHES = fan_out.branches()

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


starts, parts, worked, done = map(topic, topics.FAN_OUT)
found: Any = app.Table("found", key_type=str, partitions=PARTITIONS)


@app.agent(starts)  # type: ignore[misc, untyped-decorator, unused-ignore]
async def split(stream: Any) -> None:
    """Take starts, send parts."""
    async for key, event in stream.items():
        for part in fan_out.parts(event["topic"], BRANCHES):
            await parts.send(key=key, value={"topic": event["topic"], "part": part})


@app.agent(parts, concurrency=BRANCHES)  # type: ignore[misc, untyped-decorator, unused-ignore]
async def work(stream: Any) -> None:
    """Take parts, send what came of them."""
    async for key, event in stream.items():
        await asyncio.sleep(SECONDS)
        await worked.send(
            key=key, value={"topic": event["topic"], "done": fan_out.worked(event["part"])}
        )


@app.agent(worked)  # type: ignore[misc, untyped-decorator, unused-ignore]
async def join(stream: Any) -> None:
    """Count what came of the parts of a run, and send its verdict."""
    async for key, event in stream.items():
        count = found.get(key.decode(), 0) + 1
        if count < BRANCHES:
            found[key.decode()] = count
            continue
        found.pop(key.decode())
        verdict = fan_out.expected(event["topic"], BRANCHES)
        await done.send(key=key, value={"verdict": verdict})
