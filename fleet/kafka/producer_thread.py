"""
Transactions on an event loop of their own, in a thread that all logs of a worker share.

A transaction is a few requests, and the broker gives up on it after ten seconds. In the loop of the
steps every answer would wait for its turn: for seconds, if thousands of steps are ready at once, as
after a backlog. The worker would fence itself and repeat the same work for ever. Here an answer
waits only for the interpreter's lock, which threads pass on every few milliseconds.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from fleet.kafka.transactional_producer import Appended, Batches, TransactionalProducer

T = TypeVar("T")


class ProducerThread:
    """A thread with an event loop, which runs while it has users."""

    def __init__(self) -> None:
        self._inside = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None

    def enter(self) -> None:
        """Become a user; the first one starts the thread."""
        self._inside += 1
        if self._inside == 1:
            ready = threading.Event()
            work = lambda: asyncio.run(self._serve(ready))  # noqa: E731 - a thread takes a function
            threading.Thread(target=work, name="fleet producers", daemon=True).start()
            ready.wait()

    def leave(self) -> None:
        """Be a user no more; the last one ends the thread."""
        self._inside -= 1
        if not self._inside and self._loop is not None and self._end is not None:
            self._loop.call_soon_threadsafe(self._end.set)
            self._loop = None

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do *work* there; a cancellation here cancels it."""
        assert self._loop is not None, "entered before"
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _serve(self, ready: threading.Event) -> None:
        end = self._end = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        ready.set()
        await end.wait()


class ThreadedProducer:
    """A `TransactionalProducer` in a thread: each call crosses over and back once."""

    def __init__(self, thread: ProducerThread, make: Callable[[], TransactionalProducer]) -> None:
        self._thread = thread
        self._make = make
        self._entered = False
        self._producer: TransactionalProducer | None = None

    async def start(self) -> None:
        """See `TransactionalProducer.start`."""
        self._thread.enter()
        self._entered = True
        await self._thread.run(self._start())

    async def _start(self) -> None:
        # aiokafka's producer belongs to the loop in which it is made.
        self._producer = self._make()
        await self._producer.start()

    async def stop(self) -> None:
        """See `TransactionalProducer.stop`."""
        if not self._entered:
            return
        try:
            await self._thread.run(self._stop())
        finally:
            self._entered = False
            self._thread.leave()

    async def _stop(self) -> None:
        if self._producer is not None:
            await self._producer.stop()

    def create_batch(self) -> Any:
        """See `TransactionalProducer.create_batch`."""
        return self.inside.create_batch()

    async def transact(self, batches: Batches) -> list[Appended]:
        """See `TransactionalProducer.transact`."""
        return await self.apart(lambda producer: producer.transact(batches))

    async def append(self, batches: Batches) -> list[Appended]:
        """See `TransactionalProducer.append`."""
        return await self.apart(lambda producer: producer.append(batches))

    async def append_more(self, batches: Batches) -> list[Appended]:
        """See `TransactionalProducer.append_more`."""
        return await self.apart(lambda producer: producer.append_more(batches))

    async def end(self, *, commit: bool) -> None:
        """See `TransactionalProducer.end`."""
        await self.apart(lambda producer: producer.end(commit=commit))

    async def apart(self, work: Callable[[TransactionalProducer], Awaitable[T]]) -> T:
        """Do *work* with the producer, in its thread."""

        async def there() -> T:
            return await work(self.inside)

        return await self._thread.run(there())

    @property
    def inside(self) -> TransactionalProducer:
        """The producer; its coroutines belong to its thread."""
        assert self._producer is not None, "started before"
        return self._producer
