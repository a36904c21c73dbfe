"""Transactions, request by request, against brokers that answer as the test says."""

import asyncio
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    AuthenticationFailedError,
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
    TopicAuthorizationFailedError,
    UnknownError,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest
from aiokafka.record.default_records import DefaultRecordBatch

from fleet.kafka import transactional_producer
from fleet.kafka.producer_errors import BatchesRefused, BatchInDoubt
from fleet.kafka.producer_identity import Identity, RenewProducerIdRequest
from fleet.kafka.transactional_producer import Appended, TransactionalProducer

JOKES, STATE = TopicPartition("jokes", 3), TopicPartition("state", 3)
COORDINATOR = 7
Errors = dict[TopicPartition, type[BrokerResponseError]]
Kinds = AddPartitionsToTxnRequest | ProduceRequest | EndTxnRequest | RenewProducerIdRequest


class Kafka:
    """Two leaders and a coordinator; each request is answered well, or as the test has put down."""

    def __init__(self) -> None:
        self.requests: list[tuple[int, Kinds]] = []
        self.leaders = {JOKES: 1, STATE: 1}
        self.known = set(self.leaders)
        #: What requests of a kind are answered with, in turn.
        self.adding: deque[Errors | KafkaError] = deque()
        self.producing: deque[Errors | Exception] = deque()
        self.ending: deque[type[BrokerResponseError] | KafkaError] = deque()
        self.renewing: deque[type[BrokerResponseError] | KafkaError] = deque()
        #: The epoch that a producer is given that asks for another one.
        self.epoch = 2
        self.coordinators_lost = 0
        self.updates = 0
        self.stopped = False
        # What aiokafka's producer has under these names.
        self._sender = self.client = self.cluster = self
        self._txn_manager = SimpleNamespace(
            transactional_id="task",
            producer_id=5,
            producer_epoch=2,
            transaction_timeout_ms=10_000,
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
            case RenewProducerIdRequest():
                return self._renewed()

    def _renewed(self) -> Any:
        error = self.renewing.popleft() if self.renewing else NoError
        if isinstance(error, KafkaError):
            raise error
        self.epoch += error is NoError
        return SimpleNamespace(error_code=error.errno, producer_id=5, producer_epoch=self.epoch)

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
        if isinstance(errors, Exception):
            raise errors
        return [
            (topic, [(each, errors.get(TopicPartition(topic, each), NoError).errno, 40, 1_000, 0)])
            for topic, ((each, _),) in request._topics
        ]

    @property
    def kinds(self) -> list[str]:
        """What was asked, in order."""
        names: dict[type, str] = {
            AddPartitionsToTxnRequest: "add",
            ProduceRequest: "produce",
            EndTxnRequest: "end",
            RenewProducerIdRequest: "renew",
        }
        return [names[type(request)] for _, request in self.requests]

    def sequences(self, tp: TopicPartition) -> list[int]:
        """The first sequence number of each batch that was sent to a partition."""
        return [each.base_sequence for each in self.batches(tp)]

    def batches(self, tp: TopicPartition) -> list[Any]:
        """What was sent to a partition."""
        return [
            DefaultRecordBatch(bytes(buffer))
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
        assert found == [Appended(tp.topic, 40, 1_000, tp.partition) for tp in (JOKES, STATE)]

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


class TestDoubt:
    """A batch may be there that was not acknowledged, a request arrive that is not waited for."""

    @pytest.mark.parametrize(
        "answers",
        [
            [KafkaConnectionError(), {JOKES: MessageSizeTooLargeError}],
            [{JOKES: NotLeaderForPartitionError}, {JOKES: MessageSizeTooLargeError}],
            [{JOKES: UnknownError}],
            [ValueError("an answer that nobody can read")],
            [AuthenticationFailedError()],
        ],
    )
    async def test_the_numbers_of_a_batch_that_may_be_there_are_not_used_again(
        self, kafka: Kafka, producer: TransactionalProducer, answers: list[Any]
    ) -> None:
        """The broker would take the next batch for this one: so it is of another epoch."""
        kafka.producing += answers
        with pytest.raises(BatchInDoubt):
            await producer.append({JOKES: [batch(kafka)]})
        await producer.end(commit=False)
        await producer.append({JOKES: [batch(kafka)]})
        assert kafka.kinds[-4:] == ["end", "renew", "add", "produce"]
        sent = [(each.producer_epoch, each.base_sequence) for each in kafka.batches(JOKES)]
        assert sent[-2:] == [(2, 0), (3, 0)]

    async def test_other_batches_are_awaited_whatever_one_ends_with(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """Else one could arrive after the transaction was aborted."""
        kafka.leaders[STATE] = 2
        kafka.producing += [OSError("broken"), {}]
        await producer.append({JOKES: [batch(kafka)], STATE: [batch(kafka)]})
        assert kafka.kinds == ["add", "produce", "produce", "produce"]

    @pytest.mark.parametrize("lost", ["adding", "ending"])
    async def test_a_request_that_was_not_answered_is_of_an_older_epoch_when_it_comes(
        self, kafka: Kafka, producer: TransactionalProducer, lost: str
    ) -> None:
        """A commit that is late would commit what the next transaction has by then."""
        getattr(kafka, lost).append(KafkaConnectionError())
        await producer.append({JOKES: [batch(kafka)]})
        await producer.end(commit=True)
        await producer.append({JOKES: [batch(kafka)]})
        assert kafka.kinds[-3:] == ["renew", "add", "produce"]
        assert [each.producer_epoch for each in kafka.batches(JOKES)] == [2, 3]

    async def test_an_epoch_is_asked_for_until_there_is_an_answer(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """With the epoch that the producer has: so the broker knows a request that is repeated."""
        kafka.ending.append(KafkaConnectionError())
        kafka.renewing += [KafkaConnectionError(), ConcurrentTransactions, NotCoordinatorError]
        await producer.append({JOKES: [batch(kafka)]})
        await producer.end(commit=True)
        asked = [
            each.identity for _, each in kafka.requests if isinstance(each, RenewProducerIdRequest)
        ]
        assert asked == [Identity("task", 5, 2)] * 4

    async def test_who_was_fenced_gets_no_other_epoch(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """The request names the epoch, so that it fences nobody who came later."""
        kafka.ending.append(KafkaConnectionError())
        kafka.renewing.append(InvalidProducerEpoch)
        await producer.append({JOKES: [batch(kafka)]})
        with pytest.raises(InvalidProducerEpoch):
            await producer.end(commit=True)

    def test_the_request_names_who_asks(self) -> None:
        """In the version that has it, as the protocol puts it down."""
        request = RenewProducerIdRequest(Identity("task", 5, 2), 10_000).prepare({22: (0, 5)})
        assert request.API_VERSION == 3
        assert request.encode() == (
            b"\x05task" + (10_000).to_bytes(4) + (5).to_bytes(8) + (2).to_bytes(2) + b"\0"
        )


class TestConcurrentTransactions:
    async def test_each_pause_is_longer_up_to_a_bound(
        self, kafka: Kafka, producer: TransactionalProducer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Markers are not written while a leader is away: that may take minutes."""
        pauses: list[float] = []

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)

        monkeypatch.setattr(transactional_producer, "CONCURRENT_SECONDS", 0.002)
        kafka.adding += [{JOKES: ConcurrentTransactions} for _ in range(12)]
        monkeypatch.setattr(asyncio, "sleep", sleep)
        await producer.append({JOKES: [batch(kafka)]})
        waited = [each for each in pauses if each]
        assert waited[:3] == [0.002, 0.004, 0.008]
        assert waited[-2:] == [transactional_producer.LONGEST_CONCURRENT_SECONDS] * 2


class TestGivingUp:
    async def test_a_batch_that_is_refused_is_told_when_nothing_is_under_way(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """Else it could arrive after the transaction was aborted."""
        refused = {JOKES: MessageSizeTooLargeError, STATE: NotLeaderForPartitionError}
        kafka.producing += [refused]
        with pytest.raises(BatchesRefused):
            await producer.append({JOKES: [batch(kafka)], STATE: [batch(kafka)]})
        await producer.end(commit=False)
        assert kafka.kinds == ["add", "produce", "produce", "end"]

    async def test_the_numbers_of_a_refused_batch_are_used_again(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """The broker has not seen them."""
        kafka.producing += [{JOKES: MessageSizeTooLargeError}]
        with pytest.raises(BatchesRefused):
            await producer.append({JOKES: [batch(kafka, 3)]})
        await producer.end(commit=False)
        await producer.append({JOKES: [batch(kafka)]})
        assert kafka.sequences(JOKES) == [0, 0]

    async def test_a_topic_that_we_may_not_write_ends_it(
        self, kafka: Kafka, producer: TransactionalProducer
    ) -> None:
        """Nothing was added, so there is nothing to abort."""
        kafka.adding += [{JOKES: TopicAuthorizationFailedError, STATE: OperationNotAttempted}]
        with pytest.raises(BatchesRefused) as refused:
            await producer.append({JOKES: [batch(kafka)], STATE: [batch(kafka)]})
        assert list(refused.value.reasons) == [JOKES]
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
