"""A physical limit: one record to the broker and back, in one process."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer

from benchmarks import answers, topics
from benchmarks.scene import Line, Scene

ABOUT = "no flow at all, a limit: one record is produced and fetched again"
WORKLOADS = ("latency",)


def missing() -> str:
    """Nothing is."""
    return ""


@asynccontextmanager
async def serving(scene: Scene) -> AsyncIterator[Line]:
    """This process, with a producer and a reader of one topic."""
    topic = f"{scene.prefix}.echo"
    await topics.create(scene.bootstrap, [topic], 1)
    producer = AIOKafkaProducer(bootstrap_servers=scene.bootstrap)
    await producer.start()
    # Runs come one at a time but for the warm-up.
    turn = asyncio.Lock()
    try:
        async with topics.from_end(scene.bootstrap, topic, 1) as consumer:

            async def run(about: str) -> str:
                async with turn:
                    await producer.send(topic, answers.expected(about).encode())
                    return str(bytes((await consumer.getone()).value or b""), "utf-8")

            yield Line(run, (os.getpid(),))
    finally:
        await producer.stop()
