"""
What the steps of one run did, as it happens: its partition of some topics, read from now on.

In no consumer group and read_committed, so it disturbs nobody and sees nothing twice.
"""

import asyncio
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from fleet.config.settings import Settings
from fleet.records.log import Delivered
from fleet.runtime.broker import BrokerUnreachable, client_arguments, stop_reader
from fleet.runtime.loading import delivered
from fleet.runtime.reader import partition_of

_POLL_MS = 50


class Follower:
    """Reads a run's records; what is appended after `async with` has begun is not missed.

    Entering it raises BrokerUnreachable.
    """

    def __init__(
        self, settings: Settings, topics: Iterable[str], run_id: str, partitions: int
    ) -> None:
        partition = partition_of(run_id, partitions)
        self._settings = settings
        self._key = run_id.encode()
        self._tps = [TopicPartition(topic, partition) for topic in topics]
        self._consumer = AIOKafkaConsumer(
            **client_arguments(settings),
            isolation_level="read_committed",
            enable_auto_commit=False,
            fetch_max_wait_ms=_POLL_MS,
        )

    async def __aenter__(self) -> Self:
        try:
            await self._begin()
        except (KafkaError, OSError) as failure:
            await stop_reader(self._consumer)
            raise BrokerUnreachable(self._settings, failure) from None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await stop_reader(self._consumer)

    async def follow(self, take: Callable[[Delivered], object], over: asyncio.Event) -> None:
        """Hand on each record of the run until *over* is set and all there is was read."""
        while not (over.is_set() and await self._is_at_end()):
            found = await self._consumer.getmany(timeout_ms=_POLL_MS)
            for records in found.values():
                for record in records:
                    if record.key == self._key:
                        take(delivered(record))

    async def _begin(self) -> None:
        await self._consumer.start()
        self._consumer.assign(self._tps)
        for tp, end in (await self._consumer.end_offsets(self._tps)).items():
            self._consumer.seek(tp, end)

    async def _is_at_end(self) -> bool:
        ends = await self._consumer.end_offsets(self._tps)
        return all([await self._consumer.position(tp) >= end for tp, end in ends.items()])
