"""
A producer outside of all transactions: it tries each record until the broker has it.

aiokafka repeats a batch with its sequence number for as long as it takes, so an outage alone writes
nothing twice. It gives up before a record is in a batch (no metadata, no room), and after answers
that leave a gap in the sequence. The broker would then take no later record of that partition, so
we replace the producer. The records of a partition stay in the order in which they were given.
"""

import asyncio
from typing import Any

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidTopicError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    UnsupportedVersionError,
)

from fleet.config import logs
from fleet.kafka.clients import BATCH_BYTES, Clients
from fleet.kafka.stopping import stop_client
from fleet.records.log import Outgoing
from fleet.workflow.errors import WorkflowRuntimeError

_log = logs.get_logger("writer")
#: The pause between two attempts to append a record, in seconds.
RETRY_SECONDS = 0.2
#: A sound producer may raise these when it cannot put a record into a batch.
_PASSING = (KafkaTimeoutError, UnknownTopicOrPartitionError)
#: The broker, or aiokafka in its name, does not take such a record however often it is sent.
_REFUSALS = (
    ClusterAuthorizationFailedError,
    InvalidTopicError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnsupportedVersionError,
)


class RecordRefused(WorkflowRuntimeError):
    """Raised when the broker does not take a record, however often it is sent.

    What to do: Make the event smaller if it is too large, or allow this client to write to the
    topic.
    """

    def __init__(self, topic: str, failure: KafkaError) -> None:
        super().__init__(
            f"the broker does not take this record of {topic} ({failure!r}); make the event "
            "smaller if it is too large, or allow this client to write to the topic"
        )


class InDoubt(WorkflowRuntimeError):
    """Raised when the broker may or may not have a record that must not be written twice.

    What to do: Look at the run with `fleet runs show` before you send the event again.
    """

    def __init__(self, topic: str, failure: BaseException) -> None:
        super().__init__(
            f"the broker may or may not have this record of {topic} ({failure!r}); look at the "
            "run before you send it again"
        )


class Writer:
    """Appends the records of a caller, or of all that a worker's steps show."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        #: Held while a record of a topic and partition is handed over.
        self._turns: dict[tuple[str, int], asyncio.Lock] = {}
        self._producer: Any = None
        #: The broker would take no later record of some partition from it.
        self._unsound = False
        self._replacing = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Connect; raises aiokafka's errors."""
        self._producer = self._made()
        await self._producer.start()

    async def stop(self) -> None:
        """Disconnect. Records that were handed over are sent first, if that is soon done."""
        if self._producer is not None:
            await stop_client(self._producer.stop)
        for ending in self._ending:
            ending.cancel()

    async def append(self, record: Outgoing, partition: int, *, repeatable: bool) -> None:
        """Append one record; return when the broker has acknowledged it.

        Tries until it is cancelled. Raises RecordRefused, and, if the record is not *repeatable*,
        InDoubt when the broker may have it: readers would not recognise a second copy.
        """
        while True:
            acknowledged = await self._handed_over(record, partition)
            try:
                await acknowledged
            except KafkaError as failure:
                self._unsound = True
                if isinstance(failure, _REFUSALS):
                    raise RecordRefused(record.topic, failure) from None
                if not repeatable:
                    raise InDoubt(record.topic, failure) from None
                _log.warning("record_sent_again", topic=record.topic, error=repr(failure))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _handed_over(self, record: Outgoing, partition: int) -> "asyncio.Future[Any]":
        """Put a record into a batch, after those that were given before; return its future.

        A record that fails here is not in the log.
        """
        async with self._turns.setdefault((record.topic, partition), asyncio.Lock()):
            while True:
                try:
                    return await self._hand_over(record, partition)
                except _REFUSALS as failure:
                    raise RecordRefused(record.topic, failure) from None
                except (KafkaError, OSError) as failure:
                    self._unsound = self._unsound or not isinstance(failure, _PASSING)
                    _log.warning("record_not_sent", topic=record.topic, error=repr(failure))
                    await asyncio.sleep(RETRY_SECONDS)

    async def _hand_over(self, record: Outgoing, partition: int) -> "asyncio.Future[Any]":
        if self._unsound:
            await self._replace()
        future: asyncio.Future[Any] = await self._producer.send(
            record.topic,
            key=record.key,
            value=record.value,
            headers=record.headers,
            partition=partition,
        )
        return future

    async def _replace(self) -> None:
        async with self._replacing:
            if not self._unsound:
                return
            fresh = self._made()
            try:
                await fresh.start()
            except BaseException:
                self._end_soon(fresh)
                raise
            self._end_soon(self._producer)
            self._producer, self._unsound = fresh, False

    def _made(self) -> Any:
        # With aiokafka's 16 KiB, thousands of starts at once wait for one another.
        return self._clients.producer(enable_idempotence=True, max_batch_size=BATCH_BYTES)

    def _end_soon(self, producer: Any) -> None:
        """Stop a producer once it has sent all its records: their callers wait for that."""
        task = asyncio.get_running_loop().create_task(producer.stop())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
