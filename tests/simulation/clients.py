"""
aiokafka's clients over the simulated broker: as much of them as the engine uses.

A request takes time to arrive and its answer takes time to come back. What a process had on its way
when it was killed may or may not arrive.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from aiokafka.errors import IllegalStateError, KafkaTimeoutError
from faust.types import TP

from fleet.kafka.producer_thread import ProducerThread, ThreadedProducer
from fleet.kafka.transactional_producer import TransactionalProducer
from simulation.connection import Connection
from simulation.idempotent import IdempotentProducer
from simulation.producers import Record
from simulation.wire import WireProducer

#: As aiokafka's `request_timeout_ms`.
REQUEST_SECONDS = 40.0


@dataclass
class Reader:
    """See AIOKafkaConsumer, one in no group."""

    connection: Connection
    _positions: dict[TP, int] = field(default_factory=dict)
    #: When it was connected, in unix seconds.
    _since: float = 0.0

    async def start(self) -> None:
        """Connect."""
        await self.connection.read("start")
        await self.connection.trouble("connect")
        await asyncio.sleep(0)
        self._since = self.connection.world.now

    async def stop(self) -> None:
        """Disconnect."""
        await self.connection.read("stop")
        await asyncio.sleep(0)

    def assign(self, tps: Iterable[tuple[str, int]]) -> None:
        """Read these partitions, from nowhere yet."""
        self._positions = {TP(*tp): 0 for tp in tps}

    def seek(self, tp: tuple[str, int], offset: int) -> None:
        """Read on from *offset*."""
        if offset < 0:
            raise ValueError(offset)
        if TP(*tp) not in self._positions:
            raise IllegalStateError
        self._positions[TP(*tp)] = offset

    def pause(self, tp: tuple[str, int]) -> None:
        """Fetch no more of a partition; it is not polled any more either."""

    async def position(self, tp: tuple[str, int]) -> int:
        """Return where reading goes on."""
        await self.connection.read("position")
        await asyncio.sleep(0)
        if TP(*tp) not in self._positions:
            raise IllegalStateError
        return self._positions[TP(*tp)]

    async def beginning_offsets(self, tps: Iterable[tuple[str, int]]) -> dict[Any, int]:
        """Return the first offsets."""
        wanted, broker = list(tps), self.connection.broker
        found: dict[Any, int] = await self.connection.ask(
            "begins", lambda: {tp: broker.at(TP(*tp)).begin for tp in wanted}
        )
        return found

    async def end_offsets(self, tps: Iterable[tuple[str, int]]) -> dict[Any, int]:
        """Return the last stable offsets."""
        await self.connection.read("end_offsets")
        wanted, broker = list(tps), self.connection.broker
        await self.connection.trouble("ends")
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                found: dict[Any, int] = await self.connection.ask(
                    "ends", lambda: {tp: broker.at(TP(*tp)).end for tp in wanted}
                )
        except TimeoutError:
            raise KafkaTimeoutError from None
        return found

    async def offsets_for_times(self, times: Mapping[tuple[str, int], int]) -> dict[Any, Any]:
        """Return the first offset since each time, with its timestamp; None: there is none."""
        broker = self.connection.broker
        await self.connection.trouble("times")
        found: dict[Any, Any] = await self.connection.ask(
            "times", lambda: {tp: broker.at(TP(*tp)).since(ms) for tp, ms in times.items()}
        )
        return found

    async def getmany(
        self, *tps: tuple[str, int], timeout_ms: int, max_records: int | None = None
    ) -> dict[Any, list[Record]]:
        """Return what is there, waiting a while for it."""
        await self.connection.read("getmany")
        wanted = {TP(*tp) for tp in tps} or set(self._positions)
        asked = {tp: at for tp, at in self._positions.items() if tp in wanted}
        # Idle polling is most of a quiet history's time, so it is done more rarely here.
        await self.connection.trouble("fetch")
        if self._since < self.connection.deaf_before:
            await asyncio.sleep(timeout_ms / 20)
            return {}
        fetched = await self.connection.fetch(asked, timeout_ms / 20, max_records or 500)
        found = {}
        for tp, (records, position) in fetched.items():
            # Whoever sought in between wants other records.
            if self._positions.get(tp) == asked[tp]:
                self._positions[tp] = position
                if records:
                    found[tp] = records
        return found


class Clients:
    """See `fleet.kafka.clients.Clients`."""

    def __init__(self, connection: Connection, thread: ProducerThread | None = None) -> None:
        self._connection = connection
        #: Where transactions are; in the loop of everything else where there is none.
        self._thread = thread

    def producer(self, **_options: Any) -> IdempotentProducer:
        """Return a producer that is not started."""
        return IdempotentProducer(self._connection)

    def producer_apart(
        self, *, transactional_id: str, **_options: Any
    ) -> ThreadedProducer | TransactionalProducer:
        """Return a producer of transactions that is not started: the real one."""

        def make() -> TransactionalProducer:
            wire: Any = WireProducer(self._connection, transactional_id)
            return TransactionalProducer(wire)

        return make() if self._thread is None else ThreadedProducer(self._thread, make)

    def reader(self, **_options: Any) -> Reader:
        """Return a consumer that is not started."""
        return Reader(self._connection)

    async def members(self, _reader: Reader, group: str) -> int:
        """Return how many members a group has, or fail, or take too long; nothing depends on it."""
        # Chance of its own, so that histories stay as they are.
        random = Random(f"members {group} {self._connection.world.now}")
        await asyncio.sleep(random.choice((0.001, 0.5, REQUEST_SECONDS)))
        if random.random() < 0.3:
            raise KafkaTimeoutError
        return random.choice((0, 1, 3))

    async def log_ids(self, _reader: Reader, topics: Iterable[str]) -> Mapping[str, str]:
        """Return the ids of topics."""
        wanted, broker = list(topics), self._connection.broker
        found: dict[str, str] = await self._connection.ask(
            "ids", lambda: {name: broker.log_id(name) for name in wanted}
        )
        return found
