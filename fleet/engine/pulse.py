"""
Whether this process has run all the time.

A process that was stopped (SIGSTOP, a suspended machine, an overloaded one) wakes up with records
and steps at hand that somebody else may have done meanwhile: it learns from its group and its
producers only afterwards. So whoever is about to begin something asks here first, and after a
silence nothing begins until every task has found out whether it still owns its partition.
"""

import asyncio
from collections.abc import Callable


class Pulse:
    """Beats whenever work is taken or begun; misses a beat after *limit_seconds* of silence."""

    def __init__(self, limit_seconds: float, clock: Callable[[], float]) -> None:
        self._limit_seconds = limit_seconds
        #: Goes on while a process is stopped, also within one turn of the event loop, where the
        #: loop's own clock may stand still (uvloop's does).
        self._clock = clock
        #: When it last beat.
        self._beaten: float | None = None
        #: How often it was not certain whose the partitions are. Whoever has begun before the last
        #: time has to ask.
        self.doubts = 0
        self._sure = asyncio.Event()
        self._sure.set()

    def beat(self) -> bool:
        """Note that this process runs; tell whether its partitions are its own for all we know."""
        now = self._clock()
        if self._beaten is not None and now - self._beaten > self._limit_seconds:
            self.doubt()
        self._beaten = now
        return self._sure.is_set()

    def doubt(self) -> None:
        """Let nothing begin until every task has found out whose its partition is."""
        self.doubts += 1
        self._sure.clear()

    def confirmed(self, doubts: int) -> None:
        """Note that every task has found out whose its partition is, asked at *doubts*.

        It counts for nothing where there was another reason to doubt meanwhile.
        """
        if doubts == self.doubts:
            self._sure.set()

    async def sure(self) -> None:
        """Return once this process may begin something."""
        # Again after the wait: it may have been stopped, or in doubt anew, before its turn came.
        while not self.beat():
            await self._sure.wait()
