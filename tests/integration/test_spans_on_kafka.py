"""What a reader of spans sees of a real broker's topics: transactions, retention, replaced logs."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from fleet.config.settings import Settings
from fleet.dev.kafka import Broker
from fleet.kafka import topic_reader
from fleet.kafka.clients import BrokerUnreachable, Clients
from fleet.kafka.topic_reader import ConsumerStalled, TopicReader

pytestmark = pytest.mark.kafka


@pytest.fixture
async def admin(kafka_broker: Broker) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap)
    await client.start()
    yield client
    await client.close()


@pytest.fixture
async def tp(admin: AIOKafkaAdminClient) -> TopicPartition:
    """The partition of a new topic."""
    topic = f"spans{uuid4().hex[:8]}"
    await admin.create_topics([NewTopic(topic, 1, 1)])
    return TopicPartition(topic, 0)


@pytest.fixture
async def producer(kafka_broker: Broker, tp: TopicPartition) -> AsyncIterator[AIOKafkaProducer]:
    """A producer of transactions."""
    made = AIOKafkaProducer(bootstrap_servers=kafka_broker.bootstrap, transactional_id=tp.topic)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def reader(kafka_broker: Broker) -> AsyncIterator[TopicReader]:
    clients = Clients(Settings(broker=kafka_broker.address))
    async with TopicReader(clients, fetch_max_wait_ms=20) as made:
        yield made


async def send(producer: AIOKafkaProducer, tp: TopicPartition, *values: bytes) -> None:
    for value in values:
        await producer.send_and_wait(tp.topic, value, partition=0)


async def values(reader: TopicReader, tp: TopicPartition) -> list[bytes | None]:
    found: list[bytes | None] = []
    await reader.take_all([tp], lambda record: found.append(record.value))
    return found


async def offsets(reader: TopicReader, tp: TopicPartition, *span: int) -> list[int]:
    reading = reader.read({tp: (span[0], span[1])}, stalled_seconds=2)
    return [record.offset async for batch in reading for record in batch.delivered()]


async def test_committed_records_are_read_and_no_others(
    reader: TopicReader, producer: AIOKafkaProducer, tp: TopicPartition
) -> None:
    """Aborted ones are passed; an open transaction is neither seen nor waited for."""
    async with producer.transaction():
        await send(producer, tp, b"a", b"b")
    await producer.begin_transaction()
    await send(producer, tp, b"aborted")
    await producer.abort_transaction()
    end = (await reader.ends([tp]))[tp]
    assert end == 5
    assert await values(reader, tp) == [b"a", b"b"]
    # Nothing but the aborted record and the markers.
    assert await offsets(reader, tp, 2, end) == []
    await producer.begin_transaction()
    await send(producer, tp, b"open")
    assert await values(reader, tp) == [b"a", b"b"]
    await producer.commit_transaction()
    # The broker writes the marker after it has answered.
    async with asyncio.timeout(30):
        while await values(reader, tp) == [b"a", b"b"]:  # noqa: ASYNC110 - the broker has no event for it
            await asyncio.sleep(0.05)
    assert await values(reader, tp) == [b"a", b"b", b"open"]


async def test_what_retention_has_removed_is_passed(
    reader: TopicReader, producer: AIOKafkaProducer, admin: AIOKafkaAdminClient, tp: TopicPartition
) -> None:
    """A span that was noted before is read from what is left, also if that is nothing."""
    async with producer.transaction():
        await send(producer, tp, *(b"%d" % number for number in range(10)))
    await admin.delete_records({tp: RecordsToDelete(7)})
    found = [
        record.offset async for batch in reader.read({tp: (2, 9)}) for record in batch.delivered()
    ]
    assert found == [7, 8]
    assert [
        record async for batch in reader.read({tp: (2, 5)}) for record in batch.delivered()
    ] == []


async def test_a_topic_that_was_made_again_does_not_hold_its_reader_for_ever(
    reader: TopicReader, producer: AIOKafkaProducer, admin: AIOKafkaAdminClient, tp: TopicPartition
) -> None:
    """Its end was noted before and never comes; the new records are not taken for the old ones."""
    async with producer.transaction():
        await send(producer, tp, *(b"%d" % number for number in range(10)))
    await admin.delete_topics([tp.topic])
    await admin.create_topics([NewTopic(tp.topic, 1, 1)])
    with pytest.raises(ConsumerStalled):
        assert [
            batch.records async for batch in reader.read({tp: (8, 11)}, stalled_seconds=2)
        ] == []


async def test_a_command_hears_that_the_broker_stands(
    producer: AIOKafkaProducer, tp: TopicPartition, kafka_broker: Broker
) -> None:
    """Whatever fails within the block."""
    settings = Settings(broker=kafka_broker.address)

    async def read() -> None:
        async with topic_reader.connected(settings) as reader:
            async for _ in reader.read({tp: (0, 1)}, stalled_seconds=0.5):
                pass

    with pytest.raises(BrokerUnreachable, match="nothing to read for"):
        await read()
