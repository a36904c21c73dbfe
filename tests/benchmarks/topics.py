"""Topics for contenders that do not make their own, and a caller over two of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

START, JOKE, DONE = "start", "joke", "done"
PART, WORKED = "part", "worked"
#: The topics of a flow, that of its starts first and that of its results last.
JOKE_FLOW = (START, JOKE, DONE)
FAN_OUT = (START, PART, WORKED, DONE)


async def create(bootstrap: str, names: list[str], partitions: int) -> None:
    """Create topics and return when the broker shows them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1) for name in names])
        while not set(names) <= set(await admin.list_topics()):  # noqa: ASYNC110 - the broker's
            await asyncio.sleep(0.05)
    finally:
        await admin.close()


@asynccontextmanager
async def from_end(
    bootstrap: str, topic: str, partitions: int, isolation: str = "read_uncommitted"
) -> AsyncIterator[AIOKafkaConsumer]:
    """A reader of all that comes to a topic from now on, in no group."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level=isolation)
    await consumer.start()
    try:
        tps = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(tps)
        await consumer.seek_to_end()
        # A seek is done when the position is asked for.
        for tp in tps:
            await consumer.position(tp)
        yield consumer
    finally:
        await consumer.stop()


class Caller:
    """Sends starts as JSON and gets verdicts, both keyed by the run's id."""

    def __init__(self, producer: AIOKafkaProducer, start: str) -> None:
        self._producer = producer
        self._start = start
        self._waiting: dict[bytes, asyncio.Future[str]] = {}

    async def run(self, topic: str) -> str:
        """Return the verdict about a joke."""
        run_id = uuid4().hex.encode()
        verdict: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[run_id] = verdict
        await self._producer.send(self._start, json.dumps({"topic": topic}).encode(), key=run_id)
        return await verdict

    async def hear(self, consumer: AIOKafkaConsumer) -> None:
        """Give verdicts to whoever waits for them, for ever."""
        async for record in consumer:
            verdict = self._waiting.pop(record.key, None)
            if verdict is not None:
                verdict.set_result(json.loads(record.value)["verdict"])


@asynccontextmanager
async def caller(
    bootstrap: str, prefix: str, partitions: int, flow: tuple[str, ...] = JOKE_FLOW
) -> AsyncIterator[Caller]:
    """Create the topics of a flow and a caller over them."""
    names = [f"{prefix}.{name}" for name in flow]
    await create(bootstrap, names, partitions)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        async with from_end(bootstrap, names[-1], partitions) as consumer:
            calling = Caller(producer, names[0])
            hearing = asyncio.create_task(calling.hear(consumer))
            try:
                yield calling
            finally:
                hearing.cancel()
                await asyncio.wait([hearing])
    finally:
        await producer.stop()
