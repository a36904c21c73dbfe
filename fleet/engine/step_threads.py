"""
Steps that are plain functions run in threads, so that they do not block the event loop.

A thread cannot be stopped. If its attempt is (a cancel, a time limit, a partition that moves), the
run goes on without it: what it returns has no effect, and its next call of the context raises. It
keeps its slot until it ends. The threads are daemons, so one that never ends keeps no process.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

#: How many steps of a worker run in threads at once; others wait for their turn with their slot.
STEP_THREADS = 32


class StepThread:
    """The thread of one attempt, as its attempt sees it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        #: Done when the thread has ended.
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._outcome: asyncio.Future[tuple[Any, BaseException | None]] = self._loop.create_future()
        self._is_left = self._is_started = False

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self._is_started and not self.ended.done()

    def start(self, call: Callable[[], Any], name: str) -> None:
        """Run *call* in a thread that has the context variables of the caller."""
        self._is_started = True
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=self._run, args=(context, call), name=f"step {name}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            # The machine has no more threads.
            self._end((None, error))

    def give_back(self) -> None:
        """Let others have it, if it was not started."""
        if not self._is_started:
            self._end((None, None))

    async def result(self) -> Any:
        """Return what the call returns, or raise what it raises."""
        try:
            value, error = await self._outcome
        finally:
            self._is_left = True
        if error is not None:
            raise error
        return value

    def in_loop(self, call: Callable[[], T]) -> T:
        """Make a call of the context, from the thread, in the event loop."""
        told: Future[T] = Future()

        def make() -> None:
            try:
                told.set_result(self._made(call))
            except BaseException as error:  # noqa: BLE001 - whatever it is, the step takes it
                told.set_exception(error)

        self._loop.call_soon_threadsafe(make)
        return told.result()

    def _made(self, call: Callable[[], T]) -> T:
        if self._is_left:
            # Nothing waits for it any more.
            raise asyncio.CancelledError
        return call()

    def _run(self, context: contextvars.Context, call: Callable[[], Any]) -> None:
        try:
            outcome: tuple[Any, BaseException | None] = context.run(call), None
        except BaseException as error:  # noqa: BLE001 - a step may raise anything
            outcome = None, error
        try:
            self._loop.call_soon_threadsafe(self._end, outcome)
        except RuntimeError:
            # The loop was closed meanwhile, and nothing waits any more.
            return

    def _end(self, outcome: tuple[Any, BaseException | None]) -> None:
        self.ended.set_result(None)
        if not self._outcome.done():
            self._outcome.set_result(outcome)


class StepThreads:
    """The threads of one worker's steps."""

    def __init__(self, count: int = STEP_THREADS) -> None:
        self._free = asyncio.Semaphore(count)

    async def begin(self) -> StepThread:
        """Return a thread that can be started, as soon as one is free."""
        await self._free.acquire()
        thread = StepThread()
        thread.ended.add_done_callback(lambda _: self._free.release())
        return thread
