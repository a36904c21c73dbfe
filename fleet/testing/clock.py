"""
Virtual time for runs in memory: an hour passes as soon as nothing else is left to do.

Time stands still while code runs. When every task waits, it jumps to the next timer of the event
loop. So sleeps, retries, time limits of waits, steps and runs fire in the order of their time, and
no test waits for them. The clock is that of the loop: `asyncio.sleep` in a step goes by it, too.
`time.time()` does not.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from fleet.records.errors import FleetError

DAY_SECONDS = 86_400.0
#: How much virtual time a block may take: what waits longer waits for something that never comes.
AT_MOST_SECONDS = 30 * DAY_SECONDS
#: Timers that are due within this time fire together, in their order. A loop's own is too small for
#: the numbers that virtual time reaches.
_RESOLUTION_SECONDS = 1e-6


class NoVirtualTime(FleetError):
    """Raised when the running event loop cannot have virtual time.

    What to do: Use asyncio's own event loop in this test, and one `virtual_time()` at a time.
    """

    def __init__(self, why: str) -> None:
        super().__init__(
            f"the running event loop cannot have virtual time: {why}; use asyncio's own event loop "
            "in this test, and one virtual_time() at a time"
        )


class TimeRanOut(FleetError, TimeoutError):
    """Raised when a block of virtual time takes longer than it may.

    What to do: Find what waits for something that never comes, or give `virtual_time(at_most=...)`
    more seconds.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"{seconds / DAY_SECONDS:g} days of virtual time have passed in this block, so it "
            "probably waits for something that never comes; if it does not, write "
            "virtual_time(at_most=SECONDS)"
        )


class VirtualTime:
    """The clock of one `virtual_time()`."""

    # A loop has no public way to another clock.
    def __init__(self, loop: Any, patience: float) -> None:
        selector = getattr(loop, "_selector", None)
        if not isinstance(loop, asyncio.BaseEventLoop) or selector is None:
            raise NoVirtualTime(f"it is a {type(loop).__module__}.{type(loop).__qualname__}")
        if isinstance(getattr(selector.select, "__self__", None), VirtualTime):
            raise NoVirtualTime("it has one already")
        self._loop = cast("Any", loop)
        self._selector: Any = selector
        self._patience = patience
        self._real_time: Callable[[], float] = loop.time
        self._real_select: Callable[[float | None], list[Any]] = selector.select
        self._resolution: float = self._loop._clock_resolution  # noqa: SLF001 - no public way
        self._began = self._now = loop.time()
        #: They wait until nothing else is left to do.
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def seconds(self) -> float:
        """How much time has passed in the block, in seconds."""
        # Sums of floats are a little off: 13 hours are to be 13 hours.
        return round(self._now - self._began, 6)

    async def advance(self, seconds: float) -> None:
        """Let *seconds* pass, and whatever is due then happen; return when all of it has.

        Timers fire in the order of their time. Raises ValueError if *seconds* is no time.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"advance({seconds!r}): give a number of seconds from 0 on")
        await asyncio.sleep(seconds)
        await self.settle()

    async def settle(self) -> None:
        """Return when every other task waits; no time passes."""
        idle: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(idle)
        await idle

    def start(self) -> None:
        """Take the place of the loop's clock."""
        self._loop.time, self._selector.select = self._time, self._select
        self._loop._clock_resolution = _RESOLUTION_SECONDS  # noqa: SLF001 - no public way

    def stop(self) -> None:
        """Let time pass by itself again, from the present moment on: a clock never goes back."""
        real_time, ahead = self._real_time, self._now - self._real_time()
        self._loop.time = lambda: real_time() + ahead
        del self._selector.select
        self._loop._clock_resolution = self._resolution  # noqa: SLF001 - no public way

    def _time(self) -> float:
        return self._now

    def _select(self, timeout: float | None) -> list[Any]:
        """Take the place of the loop's wait, of *timeout* seconds, for sockets and timers."""
        if timeout is not None and timeout <= 0:
            return self._real_select(0)
        # Nothing is ready. A thread or another process may still answer.
        found = self._real_select(self._patience)
        if found:
            return found
        if self._waiting:
            self._wake()
            return []
        if timeout is None:
            return self._real_select(None)
        self._now += timeout
        return []

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for idle in waiting:
            if not idle.done():
                idle.set_result(None)


@asynccontextmanager
async def virtual_time(
    *, patience: float = 0.0, at_most: float = AT_MOST_SECONDS
) -> AsyncGenerator[VirtualTime, None]:
    """Let time jump in a block.

    `async with virtual_time() as clock: await clock.advance(3600)` lets an hour pass. So does any
    other wait of the block, such as `await handler`. If threads, subprocesses or a server take
    part, time would jump while they work: *patience* is how long, in real seconds, the block waits
    for them before each jump, of which there is one in two seconds of virtual time.
    Raises NoVirtualTime on an event loop that is not asyncio's own, and TimeRanOut after *at_most*
    seconds of virtual time.
    """
    clock = VirtualTime(asyncio.get_running_loop(), patience)
    clock.start()
    limit = asyncio.timeout(at_most)
    try:
        async with limit:
            yield clock
    except TimeoutError as late:
        if limit.expired():
            raise TimeRanOut(at_most) from late
        raise
    finally:
        clock.stop()
