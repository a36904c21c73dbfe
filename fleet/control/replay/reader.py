"""
Reads stretches of a topic's partitions in batches, with the positions that each one leads to.

In no consumer group, read_committed. Nothing more is read before a batch was taken, so a long
topic needs no more memory than a short one.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition

from fleet.config.settings import Settings
from fleet.control.reader import Reader
from fleet.control.replay.selection import Spans
from fleet.kafka.records import delivered
from fleet.records.log import Delivered

_POLL_MS = 100


@dataclass(frozen=True, slots=True)
class Batch:
    """Records, each partition in its order, and where the reader then stands."""

    records: list[Delivered]
    #: Next offset by partition, of those that have moved.
    positions: dict[int, int]


class TopicReader(Reader):
    """A reader of one topic; entering it raises BrokerUnreachable."""

    def __init__(self, settings: Settings, topic: str) -> None:
        super().__init__(settings, fetch_max_wait_ms=_POLL_MS)
        self._topic = topic

    async def spans(self, partitions: list[int]) -> dict[int, tuple[int, int]]:
        """Return what each partition holds now, up to the last stable offset."""
        tps = [TopicPartition(self._topic, each) for each in partitions]
        begins = await self._consumer.beginning_offsets(tps)
        ends = await self._consumer.end_offsets(tps)
        return {tp.partition: (begins[tp], ends[tp]) for tp in tps}

    async def from_time(self, partitions: list[int], since_ms: int) -> dict[int, int]:
        """Return the first offset since a time, in unix milliseconds; none where nothing is."""
        tps = [TopicPartition(self._topic, each) for each in partitions]
        found = await self._consumer.offsets_for_times(dict.fromkeys(tps, max(0, since_ms)))
        return {tp.partition: place.offset for tp, place in found.items() if place is not None}

    async def batches(self, spans: Spans, size: int) -> AsyncIterator[Batch]:
        """Yield everything in *spans* in batches of at most *size* records.

        A span may begin before what is kept: what is gone is passed over.
        """
        left = {
            TopicPartition(self._topic, partition): span
            for partition, span in spans.items()
            if span[0] < span[1]
        }
        if not left:
            return
        await self._seek(left)
        positions = {tp: start for tp, (start, _) in left.items()}
        while left:
            found = await self._consumer.getmany(*left, timeout_ms=_POLL_MS, max_records=size)
            moved = {}
            for tp, (_, end) in left.items():
                # The position passes transaction markers, which are never handed out.
                position = min(await self._consumer.position(tp), end)
                if position > positions[tp]:
                    positions[tp] = moved[tp.partition] = position
            yield Batch(_inside(found, left), moved)
            over = [tp for tp in left if positions[tp] >= left[tp][1]]
            for tp in over:
                self._consumer.pause(tp)
                del left[tp]

    async def _seek(self, left: Mapping[TopicPartition, tuple[int, int]]) -> None:
        begins = await self._consumer.beginning_offsets(list(left))
        self._consumer.assign(list(left))
        for tp, (start, _) in left.items():
            self._consumer.seek(tp, max(start, begins[tp]))


def _inside(
    found: Mapping[TopicPartition, list[Any]], spans: Mapping[TopicPartition, tuple[int, int]]
) -> list[Delivered]:
    return [
        delivered(each)
        for tp, records in found.items()
        for each in records
        if each.offset < spans[tp][1]
    ]
