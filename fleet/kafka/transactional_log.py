"""
A task's log on Kafka: one transactional producer, one transaction per commit.

The producer's start fences the last holder of its transactional id and aborts its open transaction.
We await every record's acknowledgement before we commit: otherwise a batch that failed would be
missing from a transaction that commits the rest.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential

from fleet.config import logs
from fleet.engine.log import Receipt, RecordsRefused, TaskLost
from fleet.kafka.clients import BATCH_BYTES, Clients
from fleet.kafka.producer_errors import BatchesRefused
from fleet.kafka.refused_records import Packed, Search, by_place
from fleet.kafka.stopping import stop_client
from fleet.kafka.transactional_producer import FATAL, Appended, Undecided
from fleet.records.errors import FleetError
from fleet.records.log import Outgoing

#: After this time the broker aborts a transaction by itself, in milliseconds. A worker that hangs
#: holds back the readers of its partition no longer than this.
TRANSACTION_TIMEOUT_MS = 10_000

_log = logs.get_logger("transactions")


class _Aborted(FleetError):
    """Raised when a transaction was aborted and the same content may be committed again."""

    permanent = False


class KafkaLog:
    """The log of one task; see `fleet.engine.log.Log`."""

    def __init__(self, clients: Clients, name: str, partition: int, state_topic: str) -> None:
        self._name = name
        self._partition = partition
        self._state_topic = state_topic
        self._producer = clients.producer_apart(
            transactional_id=name,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            max_batch_size=BATCH_BYTES,
        )

    async def start(self) -> None:
        """Take the transactional id: fence a predecessor, abort its open transaction."""
        await self._producer.start()

    async def close(self) -> None:
        """Stop the producer."""
        await stop_client(self._producer.stop)

    async def commit(
        self, records: Sequence[Outgoing], changes: Mapping[bytes, bytes | None]
    ) -> Receipt:
        """Append everything in one transaction; see `fleet.engine.log.Log.commit`."""
        changelog = [Outgoing(self._state_topic, key, value, []) for key, value in changes.items()]
        everything = [*records, *changelog]
        try:
            return await self._transaction(everything)
        except _Aborted:
            # Not around the first attempt: aborts are rare, and counting costs as much as a step.
            again = AsyncRetrying(
                retry=retry_if_exception_type(_Aborted), wait=wait_exponential(0.1, max=5)
            )
            return await again(self._transaction, everything)

    async def _transaction(self, records: list[Outgoing]) -> Receipt:
        try:
            acknowledged = await self._producer.transact(self._batches(records))
        except BatchesRefused as refused:
            await self._abort(refused)
            if not refused.is_final or self._is_ours_to_fix(refused):
                raise _Aborted(f"transaction of {self._name} refused: {refused}") from refused
            return await self._accepted(records)
        except Undecided as unknown:
            raise TaskLost(self._name, repr(unknown.__cause__)) from unknown
        except KafkaError as failure:
            await self._abort(failure)
            raise _Aborted(f"transaction of {self._name} aborted: {failure!r}") from failure
        return self._receipt(acknowledged)

    def _is_ours_to_fix(self, refused: BatchesRefused) -> bool:
        """Whether the worker's operator has to act: no step chose the state's topic."""
        failure = refused.reasons.get(TopicPartition(self._state_topic, self._partition))
        return isinstance(failure, TopicAuthorizationFailedError)

    async def _accepted(self, records: list[Outgoing]) -> Receipt:
        """Commit the records in smaller batches, if the broker takes each record then.

        Otherwise commit nothing, and raise RecordsRefused with the records that it does not take.
        """
        try:
            # All of it in the producers' thread: the transaction is open meanwhile.
            acknowledged, culprits = await self._producer.apart(
                lambda producer: Search(producer, self._partition, self._packed).run(records)
            )
        except Undecided as unknown:
            raise TaskLost(self._name, repr(unknown.__cause__)) from unknown
        except KafkaError as failure:
            await self._abort(failure)
            raise _Aborted(f"transaction of {self._name} aborted: {failure!r}") from failure
        if culprits:
            raise RecordsRefused(culprits)
        return self._receipt(acknowledged)

    def _batches(self, records: Sequence[Outgoing]) -> dict[TopicPartition, list[Any]]:
        return {
            tp: [batch for batch, _ in self._packed(there)]
            for tp, there in by_place(records, self._partition).items()
        }

    def _packed(self, records: Sequence[Outgoing]) -> list[Packed]:
        """Return the batches that hold these records, each with its records."""
        packed: list[Packed] = [(self._producer.create_batch(), [])]
        for record in records:
            if not _added(packed[-1][0], record):
                packed.append((self._producer.create_batch(), []))
                _added(packed[-1][0], record)
            packed[-1][1].append(record)
        return packed

    async def _abort(self, failure: KafkaError) -> None:
        """Abort, or raise TaskLost if that fails: then the outcome is unknown."""
        if isinstance(failure, FATAL):
            raise TaskLost(self._name, repr(failure)) from failure
        _log.warning("transaction_aborted", task=self._name, error=repr(failure))
        await self._end(commit=False)

    async def _end(self, *, commit: bool) -> None:
        try:
            await self._producer.end(commit=commit)
        except KafkaError as fatal:
            raise TaskLost(self._name, repr(fatal)) from fatal

    def _receipt(self, acknowledged: list[Appended]) -> Receipt:
        # The broker may not know the place of a duplicate; then the last known place will do.
        state = [
            batch.offset
            for batch in acknowledged
            if batch.topic == self._state_topic and batch.offset >= 0
        ]
        # The offset of the last batch, not the next one: a load from here reads that batch again,
        # and applying it twice changes nothing.
        # Other partitions of a topic may have other leaders, with clocks of their own.
        times = {
            batch.topic: batch.timestamp
            for batch in acknowledged
            if batch.timestamp > 0 and batch.partition == self._partition
        }
        return Receipt(times.get(self._state_topic, 0), max(state, default=0), times)


def _added(batch: Any, record: Outgoing) -> bool:
    return (
        batch.append(key=record.key, value=record.value, timestamp=None, headers=record.headers)
        is not None
    )
