"""What the steps of one run do, as it happens: its partition of some topics, from now on."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Self

from aiokafka.errors import KafkaError

from fleet.config.settings import Settings
from fleet.kafka import topic_reader
from fleet.kafka.clients import BrokerUnreachable, Clients
from fleet.kafka.records import delivered
from fleet.kafka.topic_reader import Positions, TopicReader
from fleet.records.log import Delivered
from fleet.records.partitions import partition_of


class Follower:
    """Reads the records of one run, and misses nothing that is appended once it is entered.

    Entering it raises BrokerUnreachable.
    """

    def __init__(
        self, settings: Settings, topics: Iterable[str], run_id: str, partitions: int
    ) -> None:
        self._settings = settings
        self._key = run_id.encode()
        number = partition_of(run_id, partitions)
        self._tps = [tp for topic in topics for tp in topic_reader.partitions(topic, [number])]
        self._reader = TopicReader(Clients(settings))
        self._positions: Positions = {}

    async def __aenter__(self) -> Self:
        try:
            await self._reader.start()
            self._positions = await self._reader.ends(self._tps)
        except (KafkaError, OSError) as failure:
            await self._reader.stop()
            raise BrokerUnreachable(self._settings, failure) from None
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reader.stop()

    async def follow(self, take: Callable[[Delivered], object], over: asyncio.Event) -> None:
        """Hand on each record of the run until *over* is set and everything was read."""
        async for found in self._reader.follow(self._positions):
            for records in found.values():
                for record in records:
                    if record.key == self._key:
                        take(delivered(record))
            if over.is_set() and await self._is_at_end():
                return

    async def _is_at_end(self) -> bool:
        ends = await self._reader.ends(self._tps)
        consumer = self._reader.consumer
        return all([await consumer.position(tp) >= end for tp, end in ends.items()])
