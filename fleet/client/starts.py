"""
Starts of runs, a few in each turn of the event loop.

Of thousands of runs that begin together, workers have the first ones while the others are still
being written.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from fleet.client.open_run import OpenRun
from fleet.records.events import Event

#: How many starts begin in one turn of the event loop.
_STARTS_IN_TURN = 64


class Starts:
    """Hands each start to *begin*, in order."""

    def __init__(self, begin: Callable[[OpenRun, Event], None]) -> None:
        self._begin = begin
        #: Starts that wait for the next turn of the loop.
        self._waiting: deque[tuple[OpenRun, Event]] = deque()
        #: How many have begun since some had to wait. Not in this turn alone: that would need a
        #: callback in each turn. With few starts at a time, one in many waits a turn in vain.
        self._begun = 0

    def add(self, run: OpenRun, event: Event) -> None:
        """Begin now, or in a later turn."""
        if self._begun < _STARTS_IN_TURN:
            self._begun += 1
            self._begin_one(run, event)
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._waiting.append((run, event))

    def clear(self) -> None:
        """Begin none of those that wait."""
        self._waiting.clear()

    def _next_turn(self) -> None:
        self._begun = min(len(self._waiting), _STARTS_IN_TURN)
        for _ in range(self._begun):
            self._begin_one(*self._waiting.popleft())
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _begin_one(self, run: OpenRun, event: Event) -> None:
        if not run.handler.is_done():
            self._begin(run, event)
