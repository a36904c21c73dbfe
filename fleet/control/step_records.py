"""
What the steps of one run did, as it happens: its partition of some topics, read from now on.

In no consumer group and read_committed, so it disturbs nobody and sees nothing twice.
"""

import asyncio
from collections.abc import Callable, Iterable

from aiokafka import TopicPartition

from fleet.config.settings import Settings
from fleet.control.reader import Reader
from fleet.kafka.records import delivered
from fleet.records.log import Delivered
from fleet.records.partitions import partition_of

_POLL_MS = 50


class Follower(Reader):
    """Reads a run's records; what is appended after `async with` has begun is not missed.

    Entering it raises BrokerUnreachable.
    """

    def __init__(
        self, settings: Settings, topics: Iterable[str], run_id: str, partitions: int
    ) -> None:
        super().__init__(settings, fetch_max_wait_ms=_POLL_MS)
        partition = partition_of(run_id, partitions)
        self._key = run_id.encode()
        self._tps = [TopicPartition(topic, partition) for topic in topics]

    async def follow(self, take: Callable[[Delivered], object], over: asyncio.Event) -> None:
        """Hand on each record of the run until *over* is set and all there is was read."""
        while not (over.is_set() and await self._is_at_end()):
            found = await self._consumer.getmany(timeout_ms=_POLL_MS)
            for records in found.values():
                for record in records:
                    if record.key == self._key:
                        take(delivered(record))

    async def _begin(self) -> None:
        await super()._begin()
        self._consumer.assign(self._tps)
        for tp, end in (await self._consumer.end_offsets(self._tps)).items():
            self._consumer.seek(tp, end)

    async def _is_at_end(self) -> bool:
        ends = await self._consumer.end_offsets(self._tps)
        return all([await self._consumer.position(tp) >= end for tp, end in ends.items()])
