"""
Reads partitions of topics, in no consumer group.

`TopicReader.read` reads spans of offsets and ends. `TopicReader.follow` reads on and on. Both see
committed records only. A span ends at a position, not at a record: markers of transactions and
aborted records take offsets and are never handed out, and a span may hold nothing else.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from fleet.config.settings import Settings
from fleet.kafka.clients import BrokerUnreachable, Clients, stop_reader
from fleet.kafka.records import delivered
from fleet.records.log import Delivered

#: The first offset, and the one after the last.
Span = tuple[int, int]
#: The client's records, by partition, each in the order of its partition.
Records = Mapping[TopicPartition, list[Any]]

#: Takes a record.
Take = Callable[[Delivered], object]
#: The next offset of each partition.
Positions = Mapping[TopicPartition, int]

#: How long one poll waits for records.
_POLL_MS = 100
#: How long a span may stand still before its reader gives up, in seconds. The broker is away, or
#: the topic was replaced by a shorter one.
STALLED_SECONDS = 30.0
#: A command reads whole topics: fewer and larger answers than a worker wants, in bytes.
_FETCH_BYTES = 4 * 1024 * 1024


class ConsumerStalled(KafkaError):
    """Raised when a reader is behind the log's end for a while and does not move."""


class Batch(NamedTuple):
    """What one poll brought. Both parts may be empty."""

    records: Records
    #: Of the partitions that have moved.
    positions: Positions

    def delivered(self) -> Iterator[Delivered]:
        """Yield the records as ours."""
        for records in self.records.values():
            yield from map(delivered, records)


class TopicReader:
    """A consumer of any partitions. Its methods raise KafkaError and OSError.

    *options* are those of aiokafka's consumer.
    """

    def __init__(self, clients: Clients, **options: Any) -> None:
        #: The aiokafka consumer, for requests that are about no partition.
        self.consumer: Any = clients.reader(**options)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Connect."""
        await self.consumer.start()

    async def stop(self) -> None:
        """Disconnect; see `stop_reader`."""
        await stop_reader(self.consumer)

    async def begins(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the first offset that each partition still has."""
        tps = list(tps)
        found: dict[TopicPartition, int] = await self.consumer.beginning_offsets(tps) if tps else {}
        return found

    async def ends(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the last stable offset of each partition: no open transaction lies before it."""
        tps = list(tps)
        found: dict[TopicPartition, int] = await self.consumer.end_offsets(tps) if tps else {}
        return found

    async def from_times(self, times: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Return the first offset since a time, in unix milliseconds.

        A partition without a record since then is left out.
        """
        asked = {tp: max(0, time_ms) for tp, time_ms in times.items()}
        found = await self.consumer.offsets_for_times(asked) if asked else {}
        return {tp: place.offset for tp, place in found.items() if place is not None}

    async def spans(
        self, tps: Iterable[TopicPartition], since_ms: int | None = None
    ) -> dict[TopicPartition, Span]:
        """Return what each partition holds now, from *since_ms* (unix milliseconds) on."""
        ends = await self.ends(tps)
        if since_ms is None:
            begins = await self.begins(ends)
        else:
            begins = ends | await self.from_times(dict.fromkeys(ends, since_ms))
        return {tp: (begins[tp], end) for tp, end in ends.items()}

    def read(
        self,
        spans: Mapping[TopicPartition, Span],
        *,
        max_records: int | None = None,
        stalled_seconds: float | None = STALLED_SECONDS,
    ) -> "Reading":
        """Begin to read *spans*, in batches of at most *max_records*.

        A span may begin before the first offset that its partition has. A reader reads or follows
        one thing at a time.
        """
        return Reading(self, spans, max_records, stalled_seconds)

    async def take_all(
        self, tps: Iterable[TopicPartition], take: Take, since_ms: int | None = None
    ) -> Positions:
        """Hand everything that is there now to *take*, from *since_ms* (unix milliseconds) on.

        Returns where that ended; `take_new` continues from there.
        """
        spans = await self.spans(tps, since_ms)
        return await self._take(spans, take)

    async def take_new(self, positions: Positions, take: Take) -> Positions:
        """Hand what was appended since *positions* to *take*; return the new positions."""
        ends = await self.ends(positions)
        return await self._take({tp: (positions[tp], end) for tp, end in ends.items()}, take)

    async def _take(self, spans: Mapping[TopicPartition, Span], take: Take) -> Positions:
        async for batch in self.read(spans):
            for record in batch.delivered():
                take(record)
        return {tp: end for tp, (_, end) in spans.items()}

    async def follow(
        self, positions: Positions, max_records: int | None = None
    ) -> AsyncIterator[Records]:
        """Yield what is appended, from *positions* on, until the caller leaves the loop.

        Also yields nothing now and then, so that the caller can look whether to leave.
        """
        self.place(positions)
        while True:
            yield await self.poll(max_records=max_records)

    def place(self, positions: Positions) -> None:
        """Read exactly these partitions from now on, each from its position."""
        self.consumer.assign(list(positions))
        for tp, position in positions.items():
            self.consumer.seek(tp, position)

    async def poll(
        self, tps: Iterable[TopicPartition] = (), max_records: int | None = None
    ) -> Records:
        """Return what has arrived, of *tps* or of all partitions, waiting a moment for it."""
        found: Records = await self.consumer.getmany(
            *tps, timeout_ms=_POLL_MS, max_records=max_records
        )
        return found


class Reading:
    """Spans that are being read: an iterator of batches, which ends when all of them are read.

    Raises ConsumerStalled if nothing moves for *stalled_seconds* of waiting.
    """

    def __init__(
        self,
        reader: TopicReader,
        spans: Mapping[TopicPartition, Span],
        max_records: int | None,
        stalled_seconds: float | None,
    ) -> None:
        self._reader = reader
        self._max_records = max_records
        self._stalled_seconds = stalled_seconds
        #: How long it has waited since the last batch that moved, in seconds.
        self._waited = 0.0
        #: What is left of each span.
        self._left = {tp: span for tp, span in spans.items() if span[0] < span[1]}
        if self._left:
            reader.place({tp: start for tp, (start, _) in self._left.items()})

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        if not self._left:
            raise StopAsyncIteration
        clock = asyncio.get_running_loop().time
        began = clock()
        batch = await self._poll_in_time()
        self._waited = 0.0 if batch.positions else self._waited + clock() - began
        return batch

    def drop(self, tp: TopicPartition) -> None:
        """Read no more of a partition."""
        self._left.pop(tp, None)
        # Fetched records that stay in the client would hold up the other partitions.
        self._reader.consumer.pause(tp)
        self._reader.consumer.seek(tp, 0)

    async def _poll_in_time(self) -> Batch:
        limit = self._stalled_seconds
        try:
            async with asyncio.timeout(limit and limit - self._waited) as waiting:
                return await self._poll()
        except TimeoutError:
            if not waiting.expired():
                raise
            raise ConsumerStalled(f"nothing to read for {limit:g} s") from None

    async def _poll(self) -> Batch:
        found = await self._reader.poll(self._left, self._max_records)
        records = {tp: self._within(tp, several) for tp, several in found.items()}
        positions = {}
        for tp, (start, end) in list(self._left.items()):
            # It passes what is never handed out as a record.
            position = min(await self._reader.consumer.position(tp), end)
            if position > start:
                positions[tp] = position
                self._left[tp] = position, end
            if position >= end:
                self.drop(tp)
        return Batch(records, positions)

    def _within(self, tp: TopicPartition, records: list[Any]) -> list[Any]:
        start, end = self._left[tp]
        return [record for record in records if start <= record.offset < end]


class StallWatch:
    """Notices that a reader which follows does not move, though there is something to read.

    aiokafka's fetch loop can end, or wait for ever, without a word: then polls find nothing. So the
    caller asks for the logs' ends, with a request that does not need that loop, and shows each look
    to this.
    """

    def __init__(self) -> None:
        #: Positions that were behind at the last look.
        self._behind: Positions = {}

    def is_stalled(self, positions: Positions, ends: Positions) -> bool:
        """Tell whether a partition is where it was behind the end at the last look."""
        behind = {tp: at for tp, at in positions.items() if at < ends.get(tp, 0)}
        stalled = any(self._behind.get(tp) == at for tp, at in behind.items())
        self._behind = {} if stalled else behind
        return stalled


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[TopicReader]:
    """Give a command a reader. The block raises BrokerUnreachable for any failure of Kafka's."""
    try:
        async with TopicReader(
            Clients(settings), max_partition_fetch_bytes=_FETCH_BYTES, fetch_max_wait_ms=_POLL_MS
        ) as reader:
            yield reader
    except (KafkaError, OSError) as failure:
        raise BrokerUnreachable(settings, failure) from None


def partitions(topic: str, numbers: int | Iterable[int]) -> list[TopicPartition]:
    """Return partitions of *topic*: the first *numbers*, or those with these numbers."""
    every = range(numbers) if isinstance(numbers, int) else numbers
    return [TopicPartition(topic, number) for number in every]
