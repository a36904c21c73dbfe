"""What a real broker does with refused records, lost answers, late requests and idle producers."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    InvalidProducerEpoch,
    KafkaConnectionError,
    MessageSizeTooLargeError,
    UnknownError,
)
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import EndTxnRequest
from own_topics import OwnTopics

from fleet.config.settings import Settings
from fleet.dev import kafka as kafka_dev
from fleet.dev.kafka import Broker, configuration
from fleet.engine.log import RecordsRefused, TaskLost
from fleet.kafka.clients import Clients
from fleet.kafka.producer_errors import InvalidRecord
from fleet.kafka.producer_identity import RenewProducerIdRequest
from fleet.kafka.transactional_log import KafkaLog
from fleet.kafka.transactional_producer import TransactionalProducer
from fleet.records.log import Outgoing

pytestmark = pytest.mark.kafka


@dataclass
class Kafka(OwnTopics):
    """Topics of a real broker, and a log."""

    @contextlib.asynccontextmanager
    async def log(self) -> AsyncIterator[KafkaLog]:
        """A task's log, started."""
        settings = Settings(broker=self.broker.address)
        log = KafkaLog(Clients(settings), self.name, 0, f"{self.name}-state")
        await log.start()
        try:
            yield log
        finally:
            await log.close()


@pytest.fixture
def kafka(kafka_broker: Broker) -> Kafka:
    return Kafka(kafka_broker)


def outgoing(topic: str, value: bytes) -> Outgoing:
    return Outgoing(topic, b"run", value, [])


def inside(log: KafkaLog) -> TransactionalProducer:
    """A log's producer, whose coroutines belong to its thread."""
    threaded: Any = log._producer
    found: TransactionalProducer = threaded.inside
    return found


async def apart(log: KafkaLog, work: Callable[[TransactionalProducer], Awaitable[Any]]) -> Any:
    """Do *work* in the producer's thread."""
    threaded: Any = log._producer
    return await threaded.apart(work)


class Unheard:
    """aiokafka's client, whose next answer to a kind of request is not heard."""

    def __init__(self, log: KafkaLog, kind: type, failure: Exception) -> None:
        self.sent: list[Any] = []
        self._kind = kind
        self._failures = [failure]
        self.client = inside(log)._client
        self._really = self.client.send
        self.client.send = self._send

    async def _send(self, node: int, request: Any, **options: Any) -> Any:
        self.sent.append(request)
        answer = await self._really(node, request, **options)
        if isinstance(request, self._kind) and self._failures:
            raise self._failures.pop()
        return answer


class TestRefusedRecords:
    async def test_the_culprits_are_named_and_the_rest_can_be_committed(self, kafka: Kafka) -> None:
        """One of many in a batch: nothing is visible until the rest is committed without it."""
        small = await kafka.topic("small", **{"max.message.bytes": "2000"})
        good = await kafka.topic("good")
        records = [outgoing(small, b"%d" % each) for each in range(20)]
        records[7] = outgoing(small, b"x" * 3_000)
        records.append(outgoing(good, b"good"))
        async with kafka.log() as log:
            with pytest.raises(RecordsRefused) as refused:
                await log.commit(records, {})
            ((culprit, reason),) = refused.value.refused
            assert culprit is records[7]
            assert isinstance(reason, MessageSizeTooLargeError)
            assert await kafka.values(small) == await kafka.values(good) == []
            rest = [each for each in records if each is not culprit]
            await log.commit(rest, {})
        expected = [each.value for each in rest if each.topic == small]
        assert await kafka.values(small) == expected
        assert await kafka.values(good) == [b"good"]

    async def test_a_batch_that_is_too_large_of_records_that_are_not_is_committed(
        self, kafka: Kafka
    ) -> None:
        """The topic takes less than a batch of ours holds: in smaller ones it takes everything."""
        small = await kafka.topic("small", **{"max.message.bytes": "2000"})
        records = [outgoing(small, b"%02d" % each + b"x" * 400) for each in range(20)]
        async with kafka.log() as log:
            await log.commit(records, {})
        assert await kafka.values(small) == [each.value for each in records]

    async def test_a_record_that_the_topic_cannot_hold_is_a_culprit(self, kafka: Kafka) -> None:
        """A compacted topic takes no record without a key; aiokafka does not know this error."""
        compacted = await kafka.topic("compacted", **{"cleanup.policy": "compact"})
        good, bad = outgoing(compacted, b"good"), outgoing(compacted, b"bad")
        bad = bad._replace(key=None)  # type: ignore[arg-type]
        async with kafka.log() as log:
            with pytest.raises(RecordsRefused) as refused:
                await log.commit([good, bad], {})
            ((culprit, reason),) = refused.value.refused
            assert culprit is bad
            assert isinstance(reason, InvalidRecord)
            await log.commit([good], {})
        assert await kafka.values(compacted) == [b"good"]

    async def test_a_change_of_the_state_can_be_the_culprit(self, kafka: Kafka) -> None:
        """It is told as a record of the state's topic."""
        state = await kafka.topic("state", **{"max.message.bytes": "1000"})
        async with kafka.log() as log:
            with pytest.raises(RecordsRefused) as refused:
                await log.commit([], {b"small": b"1", b"large": b"x" * 5_000})
            assert [(each.topic, each.key) for each, _ in refused.value.refused] == [
                (state, b"large")
            ]


class TestDoubt:
    async def test_a_batch_that_may_be_there_is_neither_lost_nor_doubled(
        self, kafka: Kafka
    ) -> None:
        """It is there, and the broker failed to say so: an abort, an epoch, and all of it again.

        The next batch has the same number of records: with the same numbers it would be a
        duplicate, and lost without a word.
        """
        topic = await kafka.topic("good")
        async with kafka.log() as log:
            wire = Unheard(log, ProduceRequest, UnknownError())
            await log.commit([outgoing(topic, b"one")], {})
            await log.commit([outgoing(topic, b"two")], {})
        assert await kafka.values(topic) == [b"one", b"two"]
        renewed = {each.identity for each in wire.sent if isinstance(each, RenewProducerIdRequest)}
        assert len(renewed) == 1

    async def test_without_another_epoch_a_batch_that_is_lost_is_seen(self, kafka: Kafka) -> None:
        """What the broker does by itself: it says that it has the batch, and has another one."""
        topic = await kafka.topic("good")
        async with kafka.log() as log:
            producer = log._producer
            tp = TopicPartition(topic, 0)
            for value in (b"one", b"two"):
                ((batch, _),) = log._packed([outgoing(topic, value)])
                inside(log)._sequences[tp] = 0
                await producer.append({tp: [batch]})
                await producer.end(commit=value == b"two")
        assert await kafka.values(topic) == []

    async def test_a_commit_that_comes_late_commits_nothing_of_the_next_transaction(
        self, kafka: Kafka
    ) -> None:
        """Its answer was lost, so the next transaction is of another epoch."""
        topic = await kafka.topic("good")
        async with kafka.log() as log:
            wire = Unheard(log, EndTxnRequest, KafkaConnectionError())
            await log.commit([outgoing(topic, b"one")], {})
            late = next(each for each in wire.sent if isinstance(each, EndTxnRequest))
            await log._producer.append(log._batches([outgoing(topic, b"half")]))
            response = await apart(log, lambda producer: producer._coordinate(late))
            assert response.error_code == InvalidProducerEpoch.errno
            await log._end(commit=False)
        assert await kafka.values(topic) == [b"one"]

    async def test_a_successor_is_not_fenced_by_who_asks_for_another_epoch(
        self, kafka: Kafka
    ) -> None:
        """The request names the epoch that was taken from us."""
        topic = await kafka.topic("good")
        async with kafka.log() as old, kafka.log() as new:
            inside(old)._in_doubt = True
            with pytest.raises(TaskLost):
                await old._end(commit=False)
            await new.commit([outgoing(topic, b"new")], {})
        assert await kafka.values(topic) == [b"new"]


class TestABusyLoop:
    """Thousands of steps are ready at once: the loop's next turn is seconds away."""

    async def test_a_transaction_goes_on_while_a_step_computes(self, kafka: Kafka) -> None:
        """It is committed before the loop has turned once: the broker does not give up on it."""
        topic = await kafka.topic("good")
        async with kafka.log() as log:
            committed = told_of_commits(inside(log))
            committing = asyncio.create_task(log.commit([outgoing(topic, b"one")], {}))
            await asyncio.sleep(0)
            assert committed.wait(60)
            await committing
        assert await kafka.values(topic) == [b"one"]

    async def test_without_a_thread_a_transaction_that_stands_still_is_seen(
        self, kafka: Kafka
    ) -> None:
        """As long as the step computes."""
        topic = await kafka.topic("good")
        producer = Clients(Settings(broker=kafka.broker.address)).transactional_producer(
            transactional_id=kafka.name
        )
        await producer.start()
        try:
            committed = told_of_commits(producer)
            batch = producer.create_batch()
            batch.append(key=b"run", value=b"one", timestamp=None, headers=[])
            committing = asyncio.create_task(producer.transact({TopicPartition(topic, 0): [batch]}))
            await asyncio.sleep(0)
            assert not committed.wait(1)
            await committing
        finally:
            await producer.stop()


def told_of_commits(producer: TransactionalProducer) -> threading.Event:
    """Return what is set when a transaction of the producer has ended."""
    ended, really = threading.Event(), producer._client.send

    async def send(node: int, request: Any, **options: Any) -> Any:
        answer = await really(node, request, **options)
        if isinstance(request, EndTxnRequest):
            ended.set()
        return answer

    producer._client.send = send
    return ended


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kafka]:
    """A broker that forgets transactional ids after 2 s instead of a week."""
    settings = (
        "transactional.id.expiration.ms=2000\n"
        "transaction.remove.expired.transaction.cleanup.interval.ms=500\n"
    )
    monkeypatch.setattr(configuration, "SERVER", configuration.SERVER + settings)
    with kafka_dev.embedded() as broker:
        yield Kafka(broker)


async def forgotten(kafka: Kafka) -> None:
    """Wait until the broker has forgotten the transactional id: its record ends as a tombstone."""
    reader = AIOKafkaConsumer(
        "__transaction_state",
        bootstrap_servers=kafka.broker.bootstrap,
        auto_offset_reset="earliest",
    )
    async with reader, asyncio.timeout(60):
        async for record in reader:
            if record.value is None and kafka.name.encode() in record.key:
                return


class TestAnIdThatExpired:
    async def test_a_log_is_lost_and_the_next_one_commits(self, forgetful: Kafka) -> None:
        """Seven days idle: the next commit ends the task, and the one that is opened anew goes on.

        Whether somebody else has the id now cannot be told from the error, so the log may not
        take a new one by itself: what it knows may be of the past.
        """
        topic = await forgetful.topic("good")
        async with forgetful.log() as idle:
            await idle.commit([outgoing(topic, b"before")], {})
            await forgotten(forgetful)
            with pytest.raises(TaskLost, match="InvalidProducerIdMapping"):
                await idle.commit([outgoing(topic, b"lost")], {})
        async with forgetful.log() as reopened:
            await reopened.commit([outgoing(topic, b"after")], {})
        assert await forgetful.values(topic) == [b"before", b"after"]
