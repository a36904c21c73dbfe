"""
Loading a task: its state from the changelog, then `runs` up to now.

Both are read with `read_committed` up to the last stable offset noted at the start. The task's
producer has been started before, so whatever a predecessor had under way is decided by then.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Self

from aiokafka import TopicPartition

from fleet.config import logs
from fleet.engine.ports import LocalStore
from fleet.kafka.clients import Clients
from fleet.kafka.records import delivered
from fleet.kafka.topic_reader import TopicReader
from fleet.records.log import Delivered

_log = logs.get_logger("loading")
#: Other requests of a client wait behind its fetch, and a topic that it does not know yet is asked
#: for again so often. With aiokafka's own values each load took 0.8 seconds longer.
_FETCH_WAIT_MS = 20
_RETRY_MS = 10
#: Age from which a local copy is not reused, in seconds: half of the time for which Kafka
#: keeps tombstones in a compacted topic (`delete.retention.ms`, a day). By the broker's clock.
STALE_SECONDS = 12 * 3600.0
_BATCH_RECORDS = 2_000
#: Offsets from a copy's own to the end of a log to which nothing was appended since: its last
#: record, which is read again, and the marker of its transaction.
_NOTHING_NEW = 2


class KafkaLoader:
    """A reader of one partition number, in no consumer group."""

    def __init__(self, clients: Clients, partition: int) -> None:
        self._clients = clients
        self._partition = partition
        #: Why the local state was thrown away, in a word; empty if it was not.
        self.discarded = ""
        #: Offsets before the end of what is being read.
        self.remaining = 0
        #: What is being read, and the offset that it has reached.
        self.place: tuple[str, int] = "", 0
        self._reader = TopicReader(
            clients, fetch_max_wait_ms=_FETCH_WAIT_MS, retry_backoff_ms=_RETRY_MS
        )

    async def __aenter__(self) -> Self:
        await self._reader.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reader.stop()

    async def load_state(
        self, topic: str, store: LocalStore, ask_time: Callable[[], Awaitable[int]]
    ) -> int:
        """Bring *store* up to the changelog's end; return how many records were read.

        *ask_time* appends to the changelog and returns when that was, in unix milliseconds.
        """
        tp = TopicPartition(topic, self._partition)
        # First: what is made again after this is noticed by who watches the logs.
        log_id = (await self.log_ids([topic])).get(topic, "")
        end = await self._end(tp)
        reason, word = _unusable(store, log_id, end), "other_log"
        if not reason and store.state_offset and end - store.state_offset > _NOTHING_NEW:
            reason, word = _outdated(store, await ask_time()), "outdated"
            end = await self._end(tp)
        if reason:
            _log.warning("state_discarded", topic=topic, partition=self._partition, reason=reason)
            store.reset()
            self.discarded = word
        store.log_id = log_id or store.log_id
        count = 0

        def apply(records: list[Any]) -> None:
            nonlocal count
            count += len(records)
            changes = {record.key: record.value for record in records}
            store.write(changes, records[-1].offset + 1, records[-1].timestamp)

        await self._read(tp, store.state_offset, end, apply)
        return count

    async def read(self, topic: str, offset: int, take: Callable[[Delivered], None]) -> None:
        """Hand the records of *topic* from *offset* up to its end to *take*."""
        tp = TopicPartition(topic, self._partition)

        def take_all(records: list[Any]) -> None:
            for record in records:
                take(delivered(record))

        await self._read(tp, offset, await self._end(tp), take_all)

    async def ends(self, topics: Iterable[str]) -> dict[str, int]:
        """Return the last stable offset of each topic's partition."""
        found = await self._reader.ends(self._tps(topics))
        return {tp.topic: end for tp, end in found.items()}

    async def begins(self, topics: Iterable[str]) -> dict[str, int]:
        """Return the first offset of each topic's partition: what is below it is gone."""
        found = await self._reader.begins(self._tps(topics))
        return {tp.topic: begin for tp, begin in found.items()}

    async def log_ids(self, topics: Iterable[str]) -> Mapping[str, str]:
        """Return the id of each topic that is there, empty if the broker tells none."""
        return await self._clients.log_ids(self._reader.consumer, topics)

    async def first(self, offsets: Mapping[str, int]) -> dict[str, Delivered]:
        """Return the first record of each topic from an offset on, of those that are there now."""
        ends = await self._reader.ends(self._tps(offsets))
        spans = {tp: (offsets[tp.topic], end) for tp, end in ends.items()}
        reading = self._reader.read(spans, max_records=1, stalled_seconds=None)
        found = {}
        async for batch in reading:
            for record in batch.delivered():
                found[record.topic] = record
                reading.drop(TopicPartition(record.topic, self._partition))
        return found

    def _tps(self, topics: Iterable[str]) -> list[TopicPartition]:
        return [TopicPartition(topic, self._partition) for topic in topics]

    async def _end(self, tp: TopicPartition) -> int:
        return (await self._reader.ends([tp]))[tp]

    async def _read(
        self, tp: TopicPartition, start: int, end: int, take: Callable[[list[Any]], None]
    ) -> None:
        self.remaining, self.place = max(0, end - start), (tp.topic, start)
        # The worker itself looks whether loads move: see `fleet.host.progress`.
        reading = self._reader.read(
            {tp: (start, end)}, max_records=_BATCH_RECORDS, stalled_seconds=None
        )
        async for batch in reading:
            if batch.records.get(tp):
                take(batch.records[tp])
            position = batch.positions.get(tp, end - self.remaining)
            self.remaining, self.place = end - position, (tp.topic, position)


def _outdated(store: LocalStore, now_ms: int) -> str:
    """Return why a copy must not be reused although its log has grown since; empty if it may."""
    age_ms = now_ms - store.appended_ms
    if age_ms < 0:
        return "the broker's clock was set back since, so its age is not known"
    if age_ms > STALE_SECONDS * 1000:
        return "the log may have lost deletions since without a trace"
    return ""


def _unusable(store: LocalStore, log_id: str, end: int) -> str:
    """Return why a local copy must not be reused; empty if it may."""
    if store.state_offset and log_id and store.log_id != log_id:
        return f"it is a copy of another topic: {store.log_id or 'no id'}, and this is {log_id}"
    if store.state_offset > end:
        return f"it is at offset {store.state_offset} and the log ends at {end}: another topic?"
    return ""
