"""
Kafka transactions, each with three requests on one connection.

aiokafka's producer connects, takes the transactional id and knows the brokers. Its sender is made
for records that trickle in while a transaction is open. For a transaction whose content is known
when it begins, it needs a dozen turns of the loop: twice the CPU and the time (see
docs/benchmarks.md). So we make the requests here: add the partitions, produce the records, end the
transaction. A request that may be repeated is, until the broker takes it or the transaction has
timed out there. Other failures are raised as aiokafka's errors.

A request without an answer may arrive later: a commit, say, in the middle of the next transaction.
And a batch may be in the log although the broker did not say so. The broker would take the next
batch with its numbers for it, and drop that. In both cases the producer is in doubt. It ends the
transaction and takes a new epoch before the next one: the broker refuses requests of the old epoch.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import CoordinationType
from aiokafka.errors import (
    ConcurrentTransactions,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    DuplicateSequenceNumber,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    KafkaError,
    NoError,
    NotCoordinatorError,
    OperationNotAttempted,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnknownTopicOrPartitionError,
)
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest

from fleet.kafka.producer_errors import NOT_APPENDED, BatchesRefused, BatchInDoubt, error_of
from fleet.kafka.producer_identity import Identity, RenewProducerIdRequest

#: Between a commit and the next transaction's first record the broker answers "concurrent
#: transactions" for a moment; we ask again after this pause, in seconds. Each pause is twice the
#: last one: while a leader is away its markers are not written, which may take minutes.
CONCURRENT_SECONDS = 0.002
LONGEST_CONCURRENT_SECONDS = 0.5
#: The pause before a request that failed for another reason is repeated, in seconds.
RETRY_SECONDS = 0.1
#: Sequence numbers are signed integers of 32 bits, and wrap to 0.
_SEQUENCES = 2**31
_ALL_REPLICAS = -1
#: How long the broker may wait for its replicas, in milliseconds; as in aiokafka's own requests.
_REPLICATION_MS = 40_000
_NO_LEADER = -1
_COORDINATOR = CoordinationType.TRANSACTION

#: After these the coordinator may take the request later.
_LATER = (
    ConcurrentTransactions,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NotCoordinatorError,
    UnknownTopicOrPartitionError,
)
#: After these a producer is finished: another one has a newer epoch, or the broker forgot it.
FATAL = (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    TransactionalIdAuthorizationFailed,
)

T = TypeVar("T")
Batches = Mapping[TopicPartition, Sequence[Any]]


class Appended(NamedTuple):
    """A batch that the broker has acknowledged."""

    topic: str
    #: The offset of its first record; -1 if the broker does not know it any more.
    offset: int
    #: Append time, in unix milliseconds; -1 if the topic keeps none.
    timestamp: int
    partition: int


_Answer = Appended | Exception


class Undecided(Exception):
    """Raised when it is unknown whether a transaction was committed; `__cause__` says why."""


class _Again(Exception):
    """Raised to repeat a request."""


class _Soon(_Again):
    """Raised to repeat a request after the shortest pause."""


class TransactionalProducer:
    """A producer of whole transactions."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer: Any = producer
        #: Its identity since it took another epoch by itself.
        self._renewed: Identity | None = None
        #: The sequence number of the next record, by partition. An acknowledged batch moves it.
        self._sequences: dict[TopicPartition, int] = defaultdict(int)
        #: The coordinator may have an open transaction of ours.
        self._open = False
        #: A request of this epoch may still arrive, or have arrived without an answer to us.
        self._in_doubt = False

    async def start(self) -> None:
        """Connect and take the transactional id, which fences its last holder."""
        await self._producer.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._producer.stop()

    def create_batch(self) -> Any:
        """Return an empty batch; see `aiokafka.AIOKafkaProducer.create_batch`."""
        return self._producer.create_batch()

    async def apart(self, work: Callable[["TransactionalProducer"], Awaitable[T]]) -> T:
        """Do *work* with this producer, in its own loop: this one."""
        return await work(self)

    async def transact(self, batches: Batches) -> list[Appended]:
        """Append everything in one transaction and commit it.

        Raises what `append` does, and Undecided.
        """
        acknowledged = await self.append(batches)
        try:
            await self.end(commit=True)
        except KafkaError as failure:
            raise Undecided from failure
        return acknowledged

    async def append(self, batches: Batches) -> list[Appended]:
        """Begin a transaction and append everything to it; return when no request is open.

        Raises BatchesRefused if the broker has not appended some of it, for sure, and BatchInDoubt
        if it may have some of it that it did not acknowledge. An abort ends both. After another
        error, too, the only thing to do is to abort.
        """
        await _answered(lambda: self._add(batches))
        return await self.append_more(batches)

    async def append_more(self, batches: Batches) -> list[Appended]:
        """Append to the open transaction; see `append`."""
        # A request holds one batch per partition, and the batches of a partition go in order.
        acknowledged: list[Appended] = []
        try:
            for number in range(max(map(len, batches.values()), default=0)):
                acknowledged += await self._produce(
                    {
                        tp: several[number]
                        for tp, several in batches.items()
                        if number < len(several)
                    }
                )
        except BatchesRefused:
            raise
        except BaseException:
            self._in_doubt = True
            raise
        return acknowledged

    async def end(self, *, commit: bool) -> None:
        """Commit or abort; after an error the outcome is not known."""
        if self._open:
            await _answered(lambda: self._end(commit=commit))
            self._open = False
        if self._in_doubt:
            await _answered(self._renew)

    async def _add(self, tps: Iterable[TopicPartition]) -> None:
        request = AddPartitionsToTxnRequest(
            **self._identity, topics=[*_by_topic((tp, tp.partition) for tp in tps).items()]
        )
        self._open = True
        response = await self._coordinate(request)
        errors = {
            TopicPartition(topic, partition): error_of(code)
            for topic, several in response.errors
            for partition, code in several
        }
        for error in set(errors.values()) - {NoError, OperationNotAttempted}:
            # It is about one partition, and the broker refuses the others with it.
            self._open = error in _LATER
            if error is TopicAuthorizationFailedError:
                raise BatchesRefused({tp: error() for tp in errors if errors[tp] is error})
            self._refuse(error)

    async def _end(self, *, commit: bool) -> None:
        request = EndTxnRequest(**self._identity, transaction_result=commit)
        response = await self._coordinate(request)
        error = error_of(response.error_code)
        if error is not NoError:
            self._refuse(error)

    async def _renew(self) -> None:
        """Take a new epoch, with sequence numbers from 0; raises an error if it is fenced."""
        manager = self._producer._txn_manager  # noqa: SLF001 - as below
        request = RenewProducerIdRequest(self.identity, manager.transaction_timeout_ms)
        response = await self._coordinate(request)
        error = error_of(response.error_code)
        if error is not NoError:
            self._refuse(error)
        self._renewed = self.identity._replace(
            producer_id=response.producer_id, producer_epoch=response.producer_epoch
        )
        self._sequences.clear()
        self._in_doubt = False

    async def _coordinate(self, request: Any) -> Any:
        """Ask the coordinator of our transactions."""
        sender = self._producer._sender  # noqa: SLF001 - it knows where the coordinator is
        node = await sender._find_coordinator(_COORDINATOR, self.identity.transactional_id)  # noqa: SLF001
        try:
            return await self._client.send(node, request)
        except Exception as failure:
            self._in_doubt = True
            if not isinstance(failure, KafkaError | OSError) or _is_final(failure):
                raise
            sender._coordinator_dead(_COORDINATOR)  # noqa: SLF001 - as above
            raise _Again from failure

    def _refuse(self, error: type[KafkaError]) -> NoReturn:
        """Raise the coordinator's error, or _Again to ask again."""
        if error is ConcurrentTransactions:
            raise _Soon
        if error in _LATER:
            self._producer._sender._coordinator_dead(_COORDINATOR)  # noqa: SLF001 - as above
            raise _Again
        raise error

    async def _produce(self, batches: Mapping[TopicPartition, Any]) -> list[Appended]:
        """Append one batch to each partition; return, or raise, when no request is open."""
        left = {tp: self._built(tp, batch) for tp, batch in batches.items()}
        acknowledged: list[Appended] = []
        failures: dict[TopicPartition, Exception] = {}
        #: The broker may have appended these although it did not say so.
        doubtful: set[TopicPartition] = set()
        while left:
            for tp, answer in (await self._send(left)).items():
                if isinstance(answer, Exception):
                    if not isinstance(answer, NOT_APPENDED):
                        doubtful.add(tp)
                    if _is_final(answer):
                        del left[tp]
                        failures[tp] = answer
                    continue
                del left[tp]
                doubtful.discard(tp)
                acknowledged.append(answer)
                following = self._sequences[tp] + batches[tp].record_count()
                self._sequences[tp] = following % _SEQUENCES
            if left:
                await self._client.force_metadata_update()
                await asyncio.sleep(RETRY_SECONDS)
        if failures:
            self._fail(failures, doubtful)
        return acknowledged

    def _fail(
        self, failures: Mapping[TopicPartition, Exception], doubtful: set[TopicPartition]
    ) -> NoReturn:
        for failure in failures.values():
            if isinstance(failure, FATAL):
                raise failure
        if doubtful:
            # The broker may know these numbers: it would take the next batch for a duplicate.
            raise BatchInDoubt(failures)
        raise BatchesRefused(failures)

    def _built(self, tp: TopicPartition, batch: Any) -> bytes:
        _, producer_id, epoch = self.identity
        batch._set_producer_state(producer_id, epoch, self._sequences[tp])  # noqa: SLF001 - as aiokafka's own sender does
        built: bytes = batch._build()  # noqa: SLF001 - as above
        return built

    async def _send(self, built: Mapping[TopicPartition, bytes]) -> dict[TopicPartition, _Answer]:
        """Produce to all leaders at once; return the answer of each partition's leader.

        Without a leader there is no answer.
        """
        answers: dict[TopicPartition, _Answer] = {}
        by_leader: dict[int, list[TopicPartition]] = defaultdict(list)
        for tp in built:
            try:
                leader = await self._leader(tp)
            except KafkaError as failure:
                if _is_final(failure):
                    answers[tp] = failure
                continue
            if leader is not None:
                by_leader[leader].append(tp)
        several = await asyncio.gather(
            *(self._send_to(node, {tp: built[tp] for tp in tps}) for node, tps in by_leader.items())
        )
        for of_leader in several:
            answers |= of_leader
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
        self, node: int, built: Mapping[TopicPartition, bytes]
    ) -> dict[TopicPartition, _Answer]:
        request = ProduceRequest(
            transactional_id=self.identity.transactional_id,
            required_acks=_ALL_REPLICAS,
            timeout=_REPLICATION_MS,
            topics=[*_by_topic((tp, (tp.partition, batch)) for tp, batch in built.items()).items()],
        )
        try:
            response = await self._client.send(node, request)
            return {
                TopicPartition(topic, partition): _answer(
                    error_of(code), Appended(topic, offset, timestamp, partition)
                )
                for topic, several in response.topics
                for partition, code, offset, timestamp, *_ in several
            }
        except Exception as failure:  # noqa: BLE001 - after any error the batches may be there
            return dict.fromkeys(built, failure)

    @property
    def _client(self) -> Any:
        return self._producer.client

    @property
    def identity(self) -> Identity:
        """Who we are, in every request."""
        if self._renewed is not None:
            return self._renewed
        manager = self._producer._txn_manager  # noqa: SLF001 - there is no public way
        return Identity(manager.transactional_id, manager.producer_id, manager.producer_epoch)

    @property
    def _identity(self) -> dict[str, Any]:
        return self.identity._asdict()


def _by_topic(several: Iterable[tuple[TopicPartition, T]]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = defaultdict(list)
    for tp, one in several:
        found[tp.topic].append(one)
    return found


def _answer(error: type[KafkaError], appended: Appended) -> _Answer:
    # A duplicate was appended before, and its acknowledgement did not arrive.
    if error in (NoError, DuplicateSequenceNumber):
        return appended
    return error()


def _is_final(failure: Exception) -> bool:
    """Tell whether repeating the request cannot help."""
    return not (
        isinstance(failure, OSError) or (isinstance(failure, KafkaError) and failure.retriable)
    )


async def _answered(request: Callable[[], Awaitable[None]]) -> None:
    """Repeat a request until there is an answer."""
    soon = CONCURRENT_SECONDS
    while True:
        try:
            return await request()
        except _Soon:
            await asyncio.sleep(soon)
            soon = min(2 * soon, LONGEST_CONCURRENT_SECONDS)
        except _Again:
            await asyncio.sleep(RETRY_SECONDS)
