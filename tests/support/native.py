"""Faust's own topics as anybody sees them: what is sent to them, and how far a group has read."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

T = TypeVar("T")


async def eventually(look: Callable[[], Awaitable[T]], seconds: float = 40) -> T:
    """Return what *look* finds as soon as it finds something."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):  # noqa: ASYNC110 - a broker tells nobody
            await asyncio.sleep(0.3)
        return found


async def partitions(bootstrap: str, topic: str) -> int:
    """Return how many partitions *topic* has; 0 where it is not there."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        found = {each["topic"]: each["partitions"] for each in await admin.describe_topics()}
        return len(found.get(topic, ()))
    finally:
        await admin.close()


async def send(bootstrap: str, topic: str, pairs: Iterable[tuple[str, str]]) -> None:
    """Send keys and values, as JSON, to *topic* as soon as it is there."""
    await eventually(lambda: partitions(bootstrap, topic))
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        sent = [
            await producer.send(topic, json.dumps(value).encode(), key=key.encode())
            for key, value in pairs
        ]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def lag(bootstrap: str, group: str, topic: str) -> dict[int, int]:
    """Return how many records of each partition *group* has not committed."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        count = len(consumer._client.cluster.partitions_for_topic(topic) or ())
        count = count or await partitions(bootstrap, topic)
        tps = [TopicPartition(topic, number) for number in range(count)]
        ends = await consumer.end_offsets(tps)
        return {tp.partition: ends[tp] - (await consumer.committed(tp) or 0) for tp in tps}
    finally:
        await consumer.stop()
