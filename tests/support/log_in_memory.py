"""A log in memory, and a consumer of it: as much of aiokafka's as `TopicReader` uses."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiokafka import TopicPartition

#: When offset 0 was appended; each offset is a second later.
FIRST_MS = 1_000_000
_POLLED_RECORDS = 500


@dataclass
class Record:
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Place(NamedTuple):
    offset: int


@dataclass
class Log:
    """What is not a record is a marker."""

    records: dict[TopicPartition, dict[int, Record]] = field(default_factory=dict)
    end: dict[TopicPartition, int] = field(default_factory=dict)
    begin: dict[TopicPartition, int] = field(default_factory=dict)

    def append(
        self, tp: TopicPartition, key: bytes | None = None, value: bytes | None = None
    ) -> int:
        offset = self.end.get(tp, 0)
        record = Record(*tp, offset, FIRST_MS + 1000 * offset, key, value)
        self.records.setdefault(tp, {})[offset] = record
        self.end[tp] = offset + 1
        return offset

    def mark(self, tp: TopicPartition, count: int = 1) -> None:
        self.end[tp] = self.end.get(tp, 0) + count

    def found(self, tp: TopicPartition, position: int, limit: int) -> tuple[list[Record], int]:
        """Return up to so many records from *position* on, and the position behind them."""
        records: list[Record] = []
        while position < self.end.get(tp, 0) and len(records) < limit:
            if record := self.records.get(tp, {}).get(position):
                records.append(record)
            position += 1
        return records, position


class Consumer:
    """It fetches when it is polled, and not ahead."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.positions: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()
        #: Set while the broker answers; otherwise polls find nothing.
        self.answers = asyncio.Event()
        self.answers.set()

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Disconnect."""

    def assign(self, tps: Iterable[TopicPartition]) -> None:
        self.positions = dict.fromkeys(tps, 0)
        self.paused = set()

    def seek(self, tp: TopicPartition, offset: int) -> None:
        assert tp in self.positions
        self.positions[tp] = offset

    def pause(self, tp: TopicPartition) -> None:
        self.paused.add(tp)

    async def position(self, tp: TopicPartition) -> int:
        await asyncio.sleep(0)
        return self.positions[tp]

    async def beginning_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self._log.begin.get(tp, 0) for tp in tps}

    async def end_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self._log.end.get(tp, 0) for tp in tps}

    async def offsets_for_times(
        self, times: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, Place | None]:
        def first(tp: TopicPartition, time_ms: int) -> Place | None:
            every = self._log.records.get(tp, {}).values()
            offsets = [record.offset for record in every if record.timestamp >= time_ms]
            return Place(min(offsets)) if offsets else None

        return {tp: first(tp, time_ms) for tp, time_ms in times.items()}

    async def getmany(
        self, *tps: TopicPartition, timeout_ms: int, max_records: int | None = None
    ) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(0 if self.answers.is_set() else timeout_ms / 1000)
        found: dict[TopicPartition, list[Any]] = {}
        left = max_records or _POLLED_RECORDS
        for tp in (tps or tuple(self.positions)) if self.answers.is_set() else ():
            records, position = self._fetched(tp, left)
            self.positions[tp] = position
            if records:
                found[tp] = records
                left -= len(records)
        return found

    def _fetched(self, tp: TopicPartition, limit: int) -> tuple[list[Record], int]:
        assert tp not in self.paused
        position, begin = self.positions[tp], self._log.begin.get(tp, 0)
        # As `auto_offset_reset="earliest"`.
        if not begin <= position <= self._log.end.get(tp, 0):
            position = begin
        return self._log.found(tp, position, limit)


class Clients:
    """Makes consumers of one log; see `fleet.kafka.clients.Clients`."""

    def __init__(self, log: Log) -> None:
        self._log = log
        #: The last one that was made.
        self.consumer: Consumer

    def reader(self, **_options: Any) -> Consumer:
        self.consumer = Consumer(self._log)
        return self.consumer
