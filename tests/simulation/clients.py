"""
aiokafka's clients over the simulated broker: as much of them as the engine uses.

A request takes time to arrive and its answer takes time to come back. What a process had on its way
when it was killed may or may not arrive.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka.errors import IllegalStateError, KafkaError
from faust.types import TP

from fleet.runtime.transactional_producer import Appended
from simulation.broker import Broker, Busy, Record
from simulation.world import Loop, World

#: Largest batch, in records: small, so that a topic's part of a transaction may take several.
BATCH_RECORDS = 3


class Connection:
    """One process's way to the broker."""

    def __init__(self, world: World, loop: Loop, broker: Broker) -> None:
        self.world = world
        self.loop = loop
        self.broker = broker
        #: Until then nothing of this process arrives, in unix seconds.
        self.hangs_until = 0.0
        #: As long, of its transactions only.
        self.stalls_until = 0.0
        #: As long, of what it reads from a topic.
        self.lags_until: dict[str, float] = {}
        #: Called with each request's name before and after it happens; may kill the process.
        self.on_request: Callable[[str, str], None] = lambda _when, _name: None

    async def ask(self, name: str, request: Callable[[], Any]) -> Any:
        """Send a request; return its answer or raise its error."""
        if self.loop.dead:
            raise asyncio.CancelledError
        answer = self.loop.create_future()
        self.on_request("before", name)
        self.world.after(self._delay(), lambda: self._arrive(name, request, answer))
        return await answer

    def _arrive(self, name: str, request: Callable[[], Any], answer: "asyncio.Future[Any]") -> None:
        if self.loop.dead and self.world.random.random() < 0.5:
            return
        stalled = name in ("produce", "end")
        hung = max(self.hangs_until, self.stalls_until if stalled else 0) - self.world.now
        if hung > 0:
            self.world.after(hung, lambda: self._arrive(name, request, answer))
            return
        try:
            result: Any = request()
        except Busy as busy:
            self.world.after(busy.seconds, lambda: self._arrive(name, request, answer))
            return
        except KafkaError as error:
            result = error
        self.on_request("after", name)
        self.world.after(self._delay(), lambda: self._answer(answer, result))

    def _answer(self, answer: "asyncio.Future[Any]", result: Any) -> None:
        if not self.loop.dead:
            self.loop.call_soon(_resolve, answer, result)

    def _delay(self) -> float:
        random = self.world.random
        return random.uniform(0.1, 0.6) if random.random() < 0.02 else random.uniform(0, 0.004)

    async def fetch(
        self, positions: dict[TP, int], seconds: float, limit: int
    ) -> dict[TP, tuple[list[Record], int]]:
        """Return what there is at *positions*, waiting at most *seconds* for something."""
        asked = self.loop.create_future()

        def look() -> None:
            if asked.done() or self.loop.dead:
                return
            found = {
                tp: self.broker.at(tp).read(at, limit)
                for tp, at in positions.items()
                if self.lags_until.get(tp.topic, 0) <= self.world.now
            }
            moved = {tp: each for tp, each in found.items() if each[1] > positions[tp]}
            if moved or self.world.now >= deadline:
                self.world.after(self._delay(), lambda: self._answer(asked, moved))
            else:
                for tp in positions:
                    self.broker.at(tp).waiting.append(look)

        deadline = self.world.now + seconds
        self.world.after(self._delay(), look)
        self.world.after(seconds, look)
        found: dict[TP, tuple[list[Record], int]] = await asked
        return found


def _resolve(answer: "asyncio.Future[Any]", result: Any) -> None:
    if answer.done():
        return
    if isinstance(result, BaseException):
        answer.set_exception(result)
    else:
        answer.set_result(result)


class Batch:
    """See aiokafka's BatchBuilder."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]] = []

    def append(
        self,
        *,
        key: bytes | None,
        value: bytes | None,
        timestamp: int | None,
        headers: list[tuple[str, bytes]],
    ) -> object | None:
        """Add a record where it fits."""
        del timestamp
        if len(self.records) == BATCH_RECORDS:
            return None
        self.records.append((key, value, list(headers)))
        return self


class Producer:
    """See AIOKafkaProducer, one without transactions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Disconnect."""
        await asyncio.sleep(0)

    async def send_and_wait(
        self,
        topic: str,
        *,
        key: bytes,
        value: bytes | None,
        headers: list[tuple[str, bytes]],
        partition: int,
    ) -> None:
        """Append one record outside of all transactions."""
        broker, tp = self._connection.broker, TP(topic, partition)
        record = (key, value, list(headers))
        await self._connection.ask("send", lambda: broker.produce(tp, [record]))


class TransactionalProducer:
    """See `fleet.runtime.transactional_producer.TransactionalProducer`."""

    def __init__(self, connection: Connection, transactional_id: str) -> None:
        self._connection = connection
        #: The transactional id.
        self.name = transactional_id
        self.epoch = 0
        #: When the transactional id was taken, in unix seconds.
        self.started = 0.0

    async def start(self) -> None:
        """Connect, and take the transactional id."""
        broker = self._connection.broker
        self.epoch = await self._connection.ask("init", lambda: broker.initialise(self.name))
        self.started = self._connection.world.now

    async def stop(self) -> None:
        """Disconnect."""
        await asyncio.sleep(0)

    def create_batch(self) -> Batch:
        """Return an empty batch."""
        return Batch()

    async def append(self, batches: Mapping[Any, Sequence[Batch]]) -> list[Appended]:
        """Append one batch of each partition after the other; all partitions at once."""
        acknowledged: list[Appended] = []
        for number in range(max(map(len, batches.values()))):
            found = await asyncio.gather(
                *(
                    self._append(TP(*tp), several[number])
                    for tp, several in batches.items()
                    if number < len(several)
                ),
                return_exceptions=True,
            )
            for each in found:
                if isinstance(each, BaseException):
                    raise each
                acknowledged.append(each)
        return acknowledged

    async def _append(self, tp: TP, batch: Batch) -> Appended:
        broker, producer = self._connection.broker, (self.name, self.epoch)
        first, appended = await self._connection.ask(
            "produce", lambda: broker.produce(tp, batch.records, producer)
        )
        return Appended(tp.topic, first, appended)

    async def end(self, *, commit: bool) -> None:
        """Commit or abort."""
        broker = self._connection.broker
        await self._connection.ask("end", lambda: broker.end(self.name, self.epoch, commit=commit))


@dataclass
class Reader:
    """See AIOKafkaConsumer, one in no group."""

    connection: Connection
    _positions: dict[TP, int] = field(default_factory=dict)

    async def start(self) -> None:
        """Connect."""
        await asyncio.sleep(0)

    async def stop(self) -> None:
        """Disconnect."""
        await asyncio.sleep(0)

    def assign(self, tps: Iterable[tuple[str, int]]) -> None:
        """Read these partitions, from nowhere yet."""
        self._positions = {TP(*tp): 0 for tp in tps}

    def seek(self, tp: tuple[str, int], offset: int) -> None:
        """Read on from *offset*."""
        if TP(*tp) not in self._positions:
            raise IllegalStateError
        self._positions[TP(*tp)] = offset

    async def seek_to_beginning(self, tp: tuple[str, int]) -> None:
        """Read on from the beginning."""
        await asyncio.sleep(0)
        self.seek(tp, 0)

    async def position(self, tp: tuple[str, int]) -> int:
        """Return where reading goes on."""
        await asyncio.sleep(0)
        return self._positions[TP(*tp)]

    async def end_offsets(self, tps: Iterable[tuple[str, int]]) -> dict[Any, int]:
        """Return the last stable offsets."""
        wanted, broker = list(tps), self.connection.broker
        found: dict[Any, int] = await self.connection.ask(
            "ends", lambda: {tp: broker.at(TP(*tp)).end for tp in wanted}
        )
        return found

    async def getmany(
        self, *tps: tuple[str, int], timeout_ms: int, max_records: int | None = None
    ) -> dict[Any, list[Record]]:
        """Return what is there, waiting a while for it."""
        wanted = {TP(*tp) for tp in tps} or set(self._positions)
        asked = {tp: at for tp, at in self._positions.items() if tp in wanted}
        # Idle polling is most of a quiet history's time, so it is done more rarely here.
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
    """See `fleet.runtime.broker.Clients`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def producer(self, **_options: Any) -> Producer:
        """Return a producer that is not started."""
        return Producer(self._connection)

    def transactional_producer(
        self, *, transactional_id: str, **_options: Any
    ) -> TransactionalProducer:
        """Return a producer of transactions that is not started."""
        return TransactionalProducer(self._connection, transactional_id)

    def reader(self, **_options: Any) -> Reader:
        """Return a consumer that is not started."""
        return Reader(self._connection)
