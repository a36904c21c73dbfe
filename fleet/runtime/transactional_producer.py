"""
Kafka transactions, each with three requests on one connection.

aiokafka's producer connects, takes the transactional id and knows the brokers. Its sender is made
for records that trickle in while a transaction is open; of one whose content is known when it
begins it makes a dozen turns of the loop, and that took twice the CPU and the time (see
docs/benchmarks.md). So the requests are made here: partitions are added, records are produced,
the transaction is ended. What may be tried again is, until the broker takes it or the transaction
has timed out there; what may not is raised as aiokafka's error.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import CoordinationType
from aiokafka.errors import (
    ConcurrentTransactions,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    DuplicateSequenceNumber,
    KafkaError,
    LeaderNotAvailableError,
    NoError,
    NotCoordinatorError,
    OperationNotAttempted,
    OutOfOrderSequenceNumber,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest

#: Between a commit and the next transaction's first record the broker answers "concurrent
#: transactions" for a moment; then it is asked again, in seconds.
CONCURRENT_SECONDS = 0.002
#: How long a request waits that failed for another reason, in seconds.
RETRY_SECONDS = 0.1
#: Sequence numbers are signed integers of 32 bits, and begin at 0 again.
_SEQUENCES = 2**31
_ALL_REPLICAS = -1
#: How long the broker may wait for its replicas, in milliseconds; as aiokafka's own requests.
_REPLICATION_MS = 40_000
_NO_LEADER = -1
_COORDINATOR = CoordinationType.TRANSACTION

#: The coordinator may take the request later.
_LATER = (
    ConcurrentTransactions,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NotCoordinatorError,
    UnknownTopicOrPartitionError,
)

Batches = Mapping[TopicPartition, Sequence[Any]]


class Appended(NamedTuple):
    """A batch that the broker has acknowledged."""

    topic: str
    #: Of its first record; -1 where the broker does not know any more.
    offset: int
    #: Append time, in unix milliseconds; -1 where the topic keeps none.
    timestamp: int


_Answer = Appended | KafkaError


class _Again(Exception):
    """Raised when a request is to be made once more."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class TransactionalProducer:
    """A producer of whole transactions."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer: Any = producer
        #: Of the next record, by partition. It moves on when a batch was acknowledged.
        self._sequences: dict[TopicPartition, int] = defaultdict(int)
        #: The coordinator may have an open transaction of ours.
        self._open = False

    async def start(self) -> None:
        """Connect and take the transactional id: whoever had it is fenced."""
        await self._producer.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._producer.stop()

    def create_batch(self) -> Any:
        """Return an empty batch; see `aiokafka.AIOKafkaProducer.create_batch`."""
        return self._producer.create_batch()

    async def append(self, batches: Batches) -> list[Appended]:
        """Begin a transaction and append everything to it.

        Raises what a request ended with, when none is under way any more; OutOfOrderSequenceNumber
        where the broker may have a batch that failed.
        """
        await _answered(lambda: self._add(batches))
        # A request holds one batch of a partition, and a partition's have to be in order.
        acknowledged: list[Appended] = []
        for number in range(max(map(len, batches.values()))):
            acknowledged += await self._produce(
                {tp: several[number] for tp, several in batches.items() if number < len(several)}
            )
        return acknowledged

    async def end(self, *, commit: bool) -> None:
        """Commit or abort; after an error the outcome is not known."""
        if self._open:
            await _answered(lambda: self._end(commit=commit))
            self._open = False

    async def _add(self, tps: Iterable[TopicPartition]) -> None:
        request = AddPartitionsToTxnRequest(
            **self._identity, topics=[(tp.topic, [tp.partition]) for tp in tps]
        )
        self._open = True
        response = await self._coordinate(request)
        errors = {for_code(code) for _, several in response.errors for _, code in several}
        for error in errors - {NoError, OperationNotAttempted}:
            # Of one partition, and the others are refused with it.
            self._open = error in _LATER
            self._refuse(error)

    async def _end(self, *, commit: bool) -> None:
        request = EndTxnRequest(**self._identity, transaction_result=commit)
        response = await self._coordinate(request)
        error = for_code(response.error_code)
        if error is not NoError:
            self._refuse(error)

    async def _coordinate(self, request: Any) -> Any:
        """Ask the coordinator of our transactions."""
        sender = self._producer._sender  # noqa: SLF001 - it knows where the coordinator is
        node = await sender._find_coordinator(_COORDINATOR, self._identity["transactional_id"])  # noqa: SLF001
        try:
            return await self._client.send(node, request)
        except KafkaError as failure:
            if not failure.retriable:
                raise
            sender._coordinator_dead(_COORDINATOR)  # noqa: SLF001 - as above
            raise _Again(RETRY_SECONDS) from failure

    def _refuse(self, error: type[KafkaError]) -> NoReturn:
        """Raise what the coordinator answered, or that it is to be asked again."""
        if error is ConcurrentTransactions:
            raise _Again(CONCURRENT_SECONDS)
        if error in _LATER:
            self._producer._sender._coordinator_dead(_COORDINATOR)  # noqa: SLF001 - as above
            raise _Again(RETRY_SECONDS)
        raise error

    async def _produce(self, batches: Mapping[TopicPartition, Any]) -> list[Appended]:
        """Append one batch to each partition; return, or raise, when none is under way."""
        left = {tp: self._built(tp, batch) for tp, batch in batches.items()}
        acknowledged: list[Appended] = []
        failures: list[KafkaError] = []
        #: The broker may have appended them although it did not say so.
        doubtful: set[TopicPartition] = set()
        while left:
            for tp, answer in (await self._send(left)).items():
                if isinstance(answer, KafkaError) and answer.retriable:
                    doubtful.add(tp)
                    continue
                del left[tp]
                if isinstance(answer, Appended):
                    acknowledged.append(answer)
                    following = self._sequences[tp] + batches[tp].record_count()
                    self._sequences[tp] = following % _SEQUENCES
                else:
                    # With numbers that the broker may know, the next batch would be a duplicate.
                    failures.append(OutOfOrderSequenceNumber() if tp in doubtful else answer)
            if left:
                await self._client.force_metadata_update()
                await asyncio.sleep(RETRY_SECONDS)
        if failures:
            raise failures[0]
        return acknowledged

    def _built(self, tp: TopicPartition, batch: Any) -> bytes:
        identity = self._identity
        batch._set_producer_state(  # noqa: SLF001 - as aiokafka's own sender does
            identity["producer_id"], identity["producer_epoch"], self._sequences[tp]
        )
        built: bytes = batch._build()  # noqa: SLF001 - as above
        return built

    async def _send(self, built: Mapping[TopicPartition, bytes]) -> dict[TopicPartition, _Answer]:
        """Produce to all leaders at once; return what each partition's said."""
        by_leader: dict[int | None, list[TopicPartition]] = defaultdict(list)
        for tp in built:
            by_leader[await self._leader(tp)].append(tp)
        nobody = by_leader.pop(None, [])
        several = await asyncio.gather(
            *(self._send_to(node, {tp: built[tp] for tp in tps}) for node, tps in by_leader.items())
        )
        answers: dict[TopicPartition, _Answer] = {tp: LeaderNotAvailableError() for tp in nobody}
        for each in several:
            answers |= each
        return answers

    async def _leader(self, tp: TopicPartition) -> int | None:
        cluster = self._client.cluster
        leader = cluster.leader_for_partition(tp)
        if leader is None:
            # The topic is new to this client.
            await self._producer.partitions_for(tp.topic)
            leader = cluster.leader_for_partition(tp)
        return None if leader == _NO_LEADER else leader

    async def _send_to(
        self, node: int | None, built: Mapping[TopicPartition, bytes]
    ) -> dict[TopicPartition, _Answer]:
        request = ProduceRequest(
            transactional_id=self._identity["transactional_id"],
            required_acks=_ALL_REPLICAS,
            timeout=_REPLICATION_MS,
            topics=[(tp.topic, [(tp.partition, each)]) for tp, each in built.items()],
        )
        try:
            response = await self._client.send(node, request)
        except KafkaError as failure:
            return dict.fromkeys(built, failure)
        return {
            TopicPartition(topic, partition): _answer(topic, for_code(code), offset, timestamp)
            for topic, several in response.topics
            for partition, code, offset, timestamp, *_ in several
        }

    @property
    def _client(self) -> Any:
        return self._producer.client

    @property
    def _identity(self) -> dict[str, Any]:
        """Who we are, in every request."""
        manager = self._producer._txn_manager  # noqa: SLF001 - there is no public way
        return {
            "transactional_id": manager.transactional_id,
            "producer_id": manager.producer_id,
            "producer_epoch": manager.producer_epoch,
        }


def _answer(topic: str, error: type[KafkaError], offset: int, timestamp: int) -> _Answer:
    # A duplicate is a batch that was appended and whose acknowledgement did not arrive.
    if error in (NoError, DuplicateSequenceNumber):
        return Appended(topic, offset, timestamp)
    return error()


async def _answered(request: Callable[[], Awaitable[None]]) -> None:
    """Make a request until there is an answer."""
    while True:
        try:
            return await request()
        except _Again as again:
            await asyncio.sleep(again.seconds)
