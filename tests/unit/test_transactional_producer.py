"""Transactions, request by request, against brokers that answer as the test says."""

import asyncio
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    BrokerResponseError,
    ConcurrentTransactions,
    DuplicateSequenceNumber,
    InvalidProducerEpoch,
    InvalidTxnState,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    NoError,
    NotCoordinatorError,
    NotLeaderForPartitionError,
    OperationNotAttempted,
    OutOfOrderSequenceNumber,
    TopicAuthorizationFailedError,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest
from aiokafka.record.default_records import DefaultRecordBatch

from fleet.runtime import transactional_producer
from fleet.runtime.transactional_producer import Appended, TransactionalProducer

JOKES, STATE = TopicPartition("jokes", 3), TopicPartition("state", 3)
COORDINATOR = 7
Errors = dict[TopicPartition, type[BrokerResponseError]]
Kinds = AddPartitionsToTxnRequest | ProduceRequest | EndTxnRequest


class Kafka:
    """Two leaders and a coordinator; each request is answered well, or as the test has put down."""

    def __init__(self) -> None:
        self.requests: list[tuple[int, Kinds]] = []
        self.leaders = {JOKES: 1, STATE: 1}
        self.known = set(self.leaders)
        #: What requests of a kind are answered with, in turn.
        self.adding: deque[Errors | KafkaError] = deque()
        self.producing: deque[dict[TopicPartition, type[BrokerResponseError]] | KafkaError] = (
            deque()
        )
        self.ending: deque[type[BrokerResponseError] | KafkaError] = deque()
        self.coordinators_lost = 0
        self.updates = 0
        self.stopped = False
        # What aiokafka's producer has under these names.
        self._sender = self.client = self.cluster = self
        self._txn_manager = SimpleNamespace(
            transactional_id="task", producer_id=5, producer_epoch=2
        )

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        self.stopped = True

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(100_000, 0, is_transactional=1)

    async def partitions_for(self, topic: str) -> None:
        self.known |= {tp for tp in self.leaders if tp.topic == topic}

    def leader_for_partition(self, tp: TopicPartition) -> int | None:
        return self.leaders[tp] if tp in self.known else None

    async def force_metadata_update(self) -> None:
        self.updates += 1

    async def _find_coordinator(self, kind: int, key: str) -> int:
        assert (kind, key) == (1, "task")
        return COORDINATOR

    def _coordinator_dead(self, kind: int) -> None:
        assert kind == 1
        self.coordinators_lost += 1

    async def send(self, node: int, request: Kinds) -> Any:
        self.requests.append((node, request))
        await asyncio.sleep(0)
        match request:
            case AddPartitionsToTxnRequest():
                return SimpleNamespace(errors=self._added(request))
            case ProduceRequest():
                return SimpleNamespace(topics=self._produced(request))
            case EndTxnRequest():
                error = self.ending.popleft() if self.ending else NoError
                if isinstance(error, KafkaError):
                    raise error
                return SimpleNamespace(error_code=error.errno)

    def _added(self, request: AddPartitionsToTxnRequest) -> list[Any]:
        errors = self.adding.popleft() if self.adding else {}
        if isinstance(errors, KafkaError):
            raise errors
        return [
            (topic, [(each, errors.get(TopicPartition(topic, each), NoError).errno)])
            for topic, (each,) in request._topics
        ]

    def _produced(self, request: ProduceRequest) -> list[Any]:
        errors = self.producing.popleft() if self.producing else {}
        if isinstance(errors, KafkaError):
            raise errors
        return [
            (topic, [(each, errors.get(TopicPartition(topic, each), NoError).errno, 40, 1_000, 0)])
            for topic, ((each, _),) in request._topics
        ]

    @property
    def kinds(self) -> list[str]:
        """What was asked, in order."""
        names = {AddPartitionsToTxnRequest: "add", ProduceRequest: "produce", EndTxnRequest: "end"}
        return [names[type(request)] for _, request in self.requests]

    def sequences(self, tp: TopicPartition) -> list[int]:
        """The first sequence number of each batch that was sent to a partition."""
        return [
            DefaultRecordBatch(bytes(buffer)).base_sequence
            for _, request in self.requests
            if isinstance(request, ProduceRequest)
            for topic, ((partition, buffer),) in request._topics
            if (topic, partition) == tp
        ]


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    """Brokers, and a producer that asks again at once."""
    monkeypatch.setattr(transactional_producer, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(transactional_producer, "CONCURRENT_SECONDS", 0.0)
    return Kafka()


@pytest.fixture
def producer(kafka: Kafka) -> TransactionalProducer:
    """Of these brokers."""
    return TransactionalProducer(kafka)  # type: ignore[arg-type]


def batch(kafka: Kafka, records: int = 1) -> BatchBuilder:
    """Return a batch of so many records."""
    made = kafka.create_batch()
    for number in range(records):
        assert made.append(key=b"k", value=b"%d" % number, timestamp=None) is not None
    return made


class TestOneTransaction:
    async def test_it_takes_three_requests(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """All partitions of one leader go together."""
        found = await producer.append({JOKES: [batch(kafka)], STATE: [batch(kafka, 2)]})
        await producer.end(commit=True)
        assert kafka.kinds == ["add", "produce", "end"]
        assert found == [Appended("jokes", 40, 1_000), Appended("state", 40, 1_000)]

    async def test_each_leader_is_asked_for_its_own(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """At the same time."""
        kafka.leaders[STATE] = 2
        await producer.append({JOKES: [batch(kafka)], STATE: [batch(kafka)]})
        assert [node for node, _ in kafka.requests] == [COORDINATOR, 1, 2]

    async def test_a_request_holds_one_batch_of_a_partition(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """The next one is sent when the first was taken, and its numbers follow."""
        await producer.append({JOKES: [batch(kafka, 3), batch(kafka, 2)], STATE: [batch(kafka)]})
        assert kafka.kinds == ["add", "produce", "produce"]
        assert (kafka.sequences(JOKES), kafka.sequences(STATE)) == ([0, 3], [0])

    async def test_numbers_go_on_in_the_next_transaction(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """By partition: so the broker sees a batch that is missing or comes twice."""
        for records in (4, 1, 1):
            await producer.append({JOKES: [batch(kafka, records)]})
            await producer.end(commit=True)
        assert kafka.sequences(JOKES) == [0, 4, 5]

    async def test_numbers_begin_again_after_the_largest(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """They are signed integers of 32 bits."""
        producer._sequences[JOKES] = 2**31 - 1
        for _ in range(2):
            await producer.append({JOKES: [batch(kafka)]})
        assert kafka.sequences(JOKES) == [2**31 - 1, 0]

    async def test_a_topic_that_is_new_is_looked_up(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """Its leader is not known before."""
        kafka.known.clear()
        await producer.append({JOKES: [batch(kafka)]})
        assert kafka.kinds == ["add", "produce"]

    async def test_nothing_is_ended_that_was_not_begun(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """The coordinator would take it for a lost transaction."""
        await producer.end(commit=False)
        assert kafka.requests == []


class TestTryingAgain:
    @pytest.mark.parametrize("error", [ConcurrentTransactions, NotCoordinatorError])
    async def test_a_coordinator_that_is_not_ready_is_asked_again(
        self, kafka: Kafka, producer: TransactionalProducer, error: type[BrokerResponseError]
    ) -> None:
        """Before and after."""
        kafka.adding += [{JOKES: error}, {JOKES: error}]
        kafka.ending += [error]
        await producer.append({JOKES: [batch(kafka)]})
        await producer.end(commit=True)
        assert kafka.kinds == ["add", "add", "add", "produce", "end", "end"]
        assert kafka.coordinators_lost == (0 if error is ConcurrentTransactions else 3)

    async def test_a_coordinator_that_is_gone_is_looked_for(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """The connection broke: whether it had heard us does not matter."""
        kafka.adding += [KafkaConnectionError()]
        kafka.ending += [KafkaConnectionError()]
        await producer.append({JOKES: [batch(kafka)]})
        await producer.end(commit=True)
        assert (kafka.kinds.count("end"), kafka.coordinators_lost) == (2, 2)

    async def test_a_batch_is_sent_again_as_it_was(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """With its numbers, by which the broker knows it; what was taken is not sent again."""
        kafka.producing += [{JOKES: NotLeaderForPartitionError}, KafkaConnectionError()]
        await producer.append({JOKES: [batch(kafka, 2)], STATE: [batch(kafka)]})
        await producer.append({JOKES: [batch(kafka)]})
        assert kafka.sequences(JOKES) == [0, 0, 0, 2]
        assert kafka.sequences(STATE) == [0]
        assert kafka.updates == 2

    async def test_a_batch_that_the_broker_has_is_appended(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """Its acknowledgement had not arrived."""
        kafka.producing.append(KafkaConnectionError())
        kafka.producing.append({JOKES: DuplicateSequenceNumber})
        found = await producer.append({JOKES: [batch(kafka)]})
        assert [each.topic for each in found] == ["jokes"]

    async def test_a_partition_without_a_leader_is_waited_for(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """An election takes a moment."""
        kafka.leaders[JOKES] = -1
        appending = asyncio.ensure_future(producer.append({JOKES: [batch(kafka)]}))
        while kafka.updates < 3:  # noqa: ASYNC110 - the producer asks in turns of the loop
            await asyncio.sleep(0)
        assert not appending.done()
        kafka.leaders[JOKES] = 1
        assert [each.topic for each in await appending] == ["jokes"]


class TestGivingUp:
    async def test_a_batch_that_is_refused_is_told_when_nothing_is_under_way(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """Else it could arrive after the transaction was aborted."""
        refused = {JOKES: MessageSizeTooLargeError, STATE: NotLeaderForPartitionError}
        kafka.producing += [refused]
        with pytest.raises(MessageSizeTooLargeError):
            await producer.append({JOKES: [batch(kafka)], STATE: [batch(kafka)]})
        await producer.end(commit=False)
        assert kafka.kinds == ["add", "produce", "produce", "end"]

    async def test_the_numbers_of_a_refused_batch_are_used_again(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """The broker has not seen them."""
        kafka.producing += [{JOKES: MessageSizeTooLargeError}]
        with pytest.raises(MessageSizeTooLargeError):
            await producer.append({JOKES: [batch(kafka, 3)]})
        await producer.end(commit=False)
        await producer.append({JOKES: [batch(kafka)]})
        assert kafka.sequences(JOKES) == [0, 0]

    async def test_the_numbers_of_a_batch_that_may_be_there_are_not_used_again(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """The broker would take the next batch for this one, and drop it: so we are lost."""
        kafka.producing.append(KafkaConnectionError())
        kafka.producing.append({JOKES: MessageSizeTooLargeError})
        with pytest.raises(OutOfOrderSequenceNumber):
            await producer.append({JOKES: [batch(kafka)]})

    async def test_a_topic_that_we_may_not_write_ends_it(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """Nothing was added, so there is nothing to abort."""
        kafka.adding += [{JOKES: TopicAuthorizationFailedError, STATE: OperationNotAttempted}]
        with pytest.raises(TopicAuthorizationFailedError):
            await producer.append({JOKES: [batch(kafka)], STATE: [batch(kafka)]})
        await producer.end(commit=False)
        assert kafka.kinds == ["add"]

    async def test_who_was_fenced_hears_it_everywhere(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """Somebody else has the transactional id."""
        kafka.adding += [{JOKES: InvalidProducerEpoch}, {}, {}]
        kafka.producing += [{JOKES: InvalidProducerEpoch}]
        kafka.ending += [InvalidProducerEpoch]
        with pytest.raises(InvalidProducerEpoch):
            await producer.append({JOKES: [batch(kafka)]})
        with pytest.raises(InvalidProducerEpoch):
            await producer.append({JOKES: [batch(kafka)]})
        with pytest.raises(InvalidProducerEpoch):
            await producer.end(commit=True)

    async def test_a_transaction_that_the_coordinator_has_lost_is_an_error(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """It timed out."""
        kafka.ending += [InvalidTxnState]
        await producer.append({JOKES: [batch(kafka)]})
        with pytest.raises(InvalidTxnState):
            await producer.end(commit=True)
