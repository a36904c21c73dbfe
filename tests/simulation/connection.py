"""
One process's way to the broker: requests that take their time, hang, get lost or come late.

A request takes time to arrive and its answer takes time to come back. What a process had on its way
when it was killed may or may not arrive.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    RequestTimedOutError,
    UnknownTopicOrPartitionError,
)
from faust.types import TP

from simulation.broker import Broker, Busy
from simulation.plan import HEALED
from simulation.producers import Record
from simulation.world import BEGINNING, Loop, World

#: Requests of transactions: what a stalled worker cannot make.
_OF_TRANSACTIONS = ("add", "produce", "end")
#: What aiokafka raises when a request has no answer, and what nobody expects of it.
_BROKEN: tuple[type[Exception], ...] = (
    KafkaConnectionError,
    KafkaConnectionError,
    RequestTimedOutError,
    NodeNotReadyError,
    OSError,
)
#: What aiokafka raises out of a call of a consumer, or of a producer before a record is in a batch.
_TROUBLES: tuple[type[Exception], ...] = (
    KafkaTimeoutError,
    KafkaConnectionError,
    KafkaError,
    UnknownTopicOrPartitionError,
    OSError,
)


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
        #: As long, of requests with these names.
        self.unheard_until: dict[str, float] = {}
        #: As long, of what it reads from a topic.
        self.lags_until: dict[str, float] = {}
        #: Chance that a connection breaks, at each request of a producer of transactions.
        self.breaks = 0.0
        #: Until then requests of its consumers and of its plain producer may fail, in unix seconds.
        self.troubled_until = 0.0
        #: A batch of its plain producer that fails may have been appended.
        self.in_doubt = False
        #: Consumers that were made before get nothing any more, in unix seconds.
        self.deaf_before = 0.0
        #: How many seconds a request takes longer.
        self.slow: Callable[[str], float] = lambda _name: 0.0
        #: Comes before calls of a loader's reader, and before a task's producer connects or stops.
        self.on_reading: Callable[[str], Awaitable[None]] | None = None
        #: Called with each request's name before and after it happens; may kill the process.
        self.on_request: Callable[[str, str], None] = lambda _when, _name: None

    async def read(self, call: str) -> None:
        """Come before *call* of a loader's reader."""
        if self.on_reading is not None:
            await self.on_reading(call)

    def fails(self, name: str) -> bool:
        """Tell whether a request that is made now fails."""
        if self.world.now >= self.troubled_until:
            return False
        chance = 0.1 if name == "fetch" else 0.4
        return self.world.random.random() < chance

    def is_met(self) -> bool:
        """Tell whether what failed was done all the same."""
        return self.in_doubt and self.world.random.random() < 0.5

    async def trouble(self, name: str) -> None:
        """Raise what a client makes of a request that fails, if it does."""
        if self.fails(name):
            self.world.note(self.loop.name, f"fails: {name}")
            await asyncio.sleep(self.world.random.choice((0.0, 0.5, 5.0)))
            raise self.world.random.choice(_TROUBLES)

    async def ask(self, name: str, request: Callable[[], Any]) -> Any:
        """Send a request; return its answer or raise its error."""
        if self.loop.dead:
            raise asyncio.CancelledError
        answer = asyncio.get_running_loop().create_future()
        self.on_request("before", name)
        seconds = self._delay() + self.slow(name)
        self.world.after(seconds, lambda: self._arrive(name, request, answer))
        return await answer

    async def send(self, name: str, request: Callable[[], Any]) -> Any:
        """As `ask`, over a connection that may break: then the request may arrive all the same."""
        random = self.world.random
        if random.random() >= self.breaks or self.world.now > BEGINNING + HEALED:
            return await self.ask(name, request)
        # It is lost, arrives and is not answered, or arrives when its sender has given it up.
        fate = random.choice(("lost", "unanswered", "unanswered", "late"))
        self.world.note(self.loop.name, f"{fate}: {name}")
        unheard = asyncio.get_running_loop().create_future()
        if fate != "lost":
            late = random.choice((0.05, 1.0, 5.0)) if fate == "late" else 0.0
            self.on_request("before", name)
            self.world.after(late, lambda: self._arrive(name, request, unheard))
        await asyncio.sleep(random.choice((0.01, 0.01, 0.5)))
        raise random.choice(_BROKEN)

    def _arrive(self, name: str, request: Callable[[], Any], answer: "asyncio.Future[Any]") -> None:
        if self.loop.dead and self.world.random.random() < 0.5:
            return
        stalled = self.stalls_until if name in _OF_TRANSACTIONS else 0
        until = max(self.hangs_until, stalled, self.unheard_until.get(name, 0))
        hung = until - self.world.now
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
            answer.get_loop().call_soon(_resolve, answer, result)

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
            moved = {tp: each for tp, each in found.items() if each[1] != positions[tp]}
            if moved or self.world.now >= deadline:
                self.world.after(self._delay(), lambda: self._answer(asked, moved))
            else:
                for tp in positions:
                    waiting = self.broker.at(tp).waiting
                    if look not in waiting:
                        waiting.append(look)

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
