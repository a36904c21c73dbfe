"""
Reads stretches of partitions, in no consumer group and read_committed.

A stretch ends at a position and not at a record: markers of transactions and what was aborted take
offsets and are never handed out, and a stretch may hold nothing else.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiokafka import TopicPartition

from fleet.config.settings import Settings
from fleet.kafka.clients import Clients, stop_reader

#: Takes a record; False ends the reading of its partition.
Take = Callable[[TopicPartition, Any], bool]
#: A stretch: first offset, and the one after the last.
Span = tuple[int, int]

_POLL_MS = 100
#: As `fleet.kafka.loading`: other requests of a client wait behind its fetch.
_FETCH_WAIT_MS = 20
_RETRY_MS = 10
#: What is looked for is mostly one record; a partition may hold large ones.
_FETCH_BYTES = 64 * 1024


class Spans:
    """A reader of any partitions. Its methods raise KafkaError."""

    def __init__(self, settings: Settings) -> None:
        self._reader: Any = Clients(settings).reader(
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            retry_backoff_ms=_RETRY_MS,
            max_partition_fetch_bytes=_FETCH_BYTES,
        )

    async def start(self) -> None:
        """Connect."""
        await self._reader.start()

    async def close(self) -> None:
        """Disconnect."""
        await stop_reader(self._reader)

    async def ends(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the last stable offset of each partition."""
        found: dict[TopicPartition, int] = await self._reader.end_offsets(list(tps))
        return found

    async def begins(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the first offset of each partition that is kept."""
        found: dict[TopicPartition, int] = await self._reader.beginning_offsets(list(tps))
        return found

    async def from_times(self, times: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Return the first offset since a time, in unix milliseconds; none where nothing is."""
        asked = {tp: max(0, each) for tp, each in times.items()}
        found = await self._reader.offsets_for_times(asked)
        return {tp: each.offset for tp, each in found.items() if each is not None}

    async def read(self, spans: Mapping[TopicPartition, Span], take: Take) -> None:
        """Hand the records of the stretches to *take*, in the order of their partition."""
        positions = {tp: start for tp, (start, end) in spans.items() if start < end}
        try:
            while positions:
                # Anew, because what is assigned and not taken holds up the rest.
                self._assign(positions)
                positions = await self._read_some(positions, spans, take)
        finally:
            self._reader.unsubscribe()

    def _assign(self, positions: Mapping[TopicPartition, int]) -> None:
        self._reader.assign(list(positions))
        for tp, position in positions.items():
            self._reader.seek(tp, position)

    async def _read_some(
        self,
        positions: Mapping[TopicPartition, int],
        spans: Mapping[TopicPartition, Span],
        take: Take,
    ) -> dict[TopicPartition, int]:
        """Read until a partition is through; return where the others are."""
        over: set[TopicPartition] = set()
        while not over:
            batches = await self._reader.getmany(*positions, timeout_ms=_POLL_MS)
            for tp, records in batches.items():
                within = (each for each in records if each.offset < spans[tp][1])
                if not all(take(tp, each) for each in within):
                    over.add(tp)
            for tp in positions:
                if await self._reader.position(tp) >= spans[tp][1]:
                    over.add(tp)
        return {tp: await self._reader.position(tp) for tp in positions if tp not in over}
