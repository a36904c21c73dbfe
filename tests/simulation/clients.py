"""
aiokafka's clients over the simulated broker: as much of them as the engine uses.

A request takes time to arrive and its answer takes time to come back. What a process had on its way
when it was killed may or may not arrive.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from aiokafka.errors import IllegalStateError, KafkaError, ProducerFenced
from faust.types import TP

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

    def close(self) -> None:
        """Take no more."""


@dataclass(slots=True)
class Metadata:
    """See aiokafka's RecordMetadata."""

    topic: str
    offset: int
    timestamp: int


@dataclass
class _Sender:
    sender_task: "asyncio.Future[None]"


class Producer:
    """See AIOKafkaProducer."""

    def __init__(self, connection: Connection, transactional_id: str | None = None) -> None:
        self._connection = connection
        self._id = transactional_id
        self.epoch = 0
        #: When the transactional id was taken, in unix seconds.
        self.started = 0.0
        self._fatal = False
        self._in_transaction = False
        self._sending: dict[TP, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._sender = _Sender(connection.loop.create_future())
        self._txn_manager = self

    @property
    def name(self) -> str:
        """The transactional id."""
        assert self._id is not None
        return self._id

    async def start(self) -> None:
        """Connect, and take the transactional id."""
        if self._id is not None:
            name = self._id
            self.epoch = await self._ask("init", lambda: self._connection.broker.initialise(name))
            self.started = self._connection.world.now

    async def stop(self) -> None:
        """Disconnect."""
        await asyncio.sleep(0)
        if not self._sender.sender_task.done():
            self._sender.sender_task.set_result(None)

    def maybe_add_partition_to_txn(self, tp: object) -> None:
        """Note a partition; appending to it does the same here."""

    def is_fatal_error(self) -> bool:
        """Whether nothing can be done with this producer any more."""
        return self._fatal

    async def begin_transaction(self) -> None:
        """Begin; nothing is said to the broker yet."""
        if self._fatal:
            raise ProducerFenced
        assert not self._in_transaction, "one transaction at a time"
        self._in_transaction = True

    def create_batch(self) -> Batch:
        """Return an empty batch."""
        return Batch()

    async def send_batch(
        self, batch: Batch, topic: str, *, partition: int
    ) -> "asyncio.Future[Metadata]":
        """Send; return a future of the acknowledgement."""
        await asyncio.sleep(0)
        return asyncio.ensure_future(self._append(TP(topic, partition), batch))

    async def _append(self, tp: TP, batch: Batch) -> Metadata:
        broker, producer = self._connection.broker, (self.name, self.epoch)
        # One batch of a partition at a time: what a producer sends stays in order there.
        async with self._sending[tp]:
            first, appended = await self._ask(
                "produce", lambda: broker.produce(tp, batch.records, producer)
            )
        return Metadata(tp.topic, first, appended)

    async def commit_transaction(self) -> None:
        """Commit."""
        await self._end(commit=True)

    async def abort_transaction(self) -> None:
        """Abort."""
        await self._end(commit=False)

    async def _end(self, *, commit: bool) -> None:
        broker = self._connection.broker
        await self._ask("end", lambda: broker.end(self.name, self.epoch, commit=commit))
        self._in_transaction = False

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

    async def _ask(self, name: str, request: Callable[[], Any]) -> Any:
        try:
            return await self._connection.ask(name, request)
        except ProducerFenced:
            self._fatal = True
            raise


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

    def producer(self, **options: Any) -> Producer:
        """Return a producer that is not started."""
        return Producer(self._connection, options.get("transactional_id"))

    def reader(self, **_options: Any) -> Reader:
        """Return a consumer that is not started."""
        return Reader(self._connection)
