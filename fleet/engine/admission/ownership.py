"""
Whether this process certainly owns its partitions: it has run all the time.

A process that was stopped (SIGSTOP, a suspended machine, an overloaded one) wakes up with records
and steps at hand that another worker may have done meanwhile. It learns so from its group and its
producers only later. So the engine asks here before it begins anything. After a missed heartbeat
nothing begins until every task has confirmed that it still owns its partition.
"""

import asyncio
from collections.abc import Callable


class OwnershipCheck:
    """Takes a heartbeat whenever work is taken or begun; misses one after *limit_seconds*."""

    def __init__(self, limit_seconds: float, clock: Callable[[], float]) -> None:
        self._limit_seconds = limit_seconds
        #: Goes on while a process is stopped, also within one turn of the event loop, where the
        #: loop's own clock may stand still (uvloop's does).
        self._clock = clock
        #: When the last heartbeat was.
        self._heartbeat_at: float | None = None
        #: How often ownership was suspect. A task that was opened before the last time has to ask.
        self.suspicions = 0
        self._confirmed = asyncio.Event()
        self._confirmed.set()

    def heartbeat(self) -> bool:
        """Note that this process runs; tell whether ownership is confirmed."""
        now = self._clock()
        if self._heartbeat_at is not None and now - self._heartbeat_at > self._limit_seconds:
            self.suspect()
        self._heartbeat_at = now
        return self._confirmed.is_set()

    def suspect(self) -> None:
        """Let nothing begin until every task has confirmed that it owns its partition."""
        self.suspicions += 1
        self._confirmed.clear()

    def confirm(self, suspicions: int) -> None:
        """Note that every task owns its partition, as it found when asked at *suspicions*.

        Ignored if ownership became suspect again meanwhile.
        """
        if suspicions == self.suspicions:
            self._confirmed.set()

    async def until_confirmed(self) -> None:
        """Wait until ownership of the partitions is confirmed."""
        # Again after the wait: the process may have been stopped once more before its turn came.
        while not self.heartbeat():
            await self._confirmed.wait()
