"""A physical limit: one record in a transaction of its own, until who reads committed has it."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer

from benchmarks import answers, topics
from benchmarks.scene import Line, Scene

ABOUT = "no flow at all, a limit: one record in a transaction, until a committed reader has it"
WORKLOADS = ("latency",)


def missing() -> str:
    """Nothing is."""
    return ""


@asynccontextmanager
async def serving(scene: Scene) -> AsyncIterator[Line]:
    """This process, with a transactional producer and a reader of one topic."""
    topic = f"{scene.prefix}.echo"
    await topics.create(scene.bootstrap, [topic], 1)
    producer = AIOKafkaProducer(bootstrap_servers=scene.bootstrap, transactional_id=scene.prefix)
    await producer.start()
    # A producer has one transaction at a time.
    turn = asyncio.Lock()
    try:
        async with topics.from_end(scene.bootstrap, topic, 1, "read_committed") as consumer:

            async def run(about: str) -> str:
                async with turn:
                    async with producer.transaction():
                        await producer.send_and_wait(topic, answers.expected(about).encode())
                    return str(bytes((await consumer.getone()).value or b""), "utf-8")

            yield Line(run, (os.getpid(),))
    finally:
        await producer.stop()
