"""
The deadlines of a task's runs: one timer, set to the next one.

An index in memory, made again from the state when a task is loaded. Runs usually end before their
deadline, so what has ended is left in the heap for a while and cleared out in bulk.
"""

import asyncio
import heapq
from collections.abc import Callable

from fleet.runtime.clock import BrokerClock

#: Ended runs that the heap may hold beside those that go on, before it is made anew.
_SLACK = 1_000
_DAY_SECONDS = 86_400.0


class Deadlines:
    """Calls `passed` with a run's id when broker time has reached its deadline."""

    def __init__(self, clock: BrokerClock, passed: Callable[[str], None]) -> None:
        self._clock = clock
        self._passed = passed
        self._by_run: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._running = False

    def __len__(self) -> int:
        return len(self._by_run)

    def add(self, run_id: str, deadline_ms: int) -> None:
        """Watch a run; *deadline_ms* is broker time in unix milliseconds."""
        self._by_run[run_id] = deadline_ms
        heapq.heappush(self._heap, (deadline_ms, run_id))
        if self._heap[0] == (deadline_ms, run_id):
            self._arm()

    def drop(self, run_id: str) -> None:
        """Forget a run that has ended."""
        self._by_run.pop(run_id, None)
        if len(self._heap) > 2 * len(self._by_run) + _SLACK:
            self._heap = [(deadline_ms, run) for run, deadline_ms in self._by_run.items()]
            heapq.heapify(self._heap)

    def start(self) -> None:
        """Begin to call."""
        self._running = True
        self._arm()

    def stop(self) -> None:
        """Call no more."""
        self._running = False
        self._disarm()

    def _arm(self) -> None:
        self._disarm()
        if self._running and self._heap:
            # Looked at once a day in any case: some loops take no larger delay.
            wait_seconds = min((self._heap[0][0] - self._clock.now_ms()) / 1000, _DAY_SECONDS)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, wait_seconds), self._look)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        now = self._clock.now_ms()
        while self._heap and self._heap[0][0] <= now:
            deadline_ms, run_id = heapq.heappop(self._heap)
            if self._by_run.get(run_id) == deadline_ms:
                del self._by_run[run_id]
                self._passed(run_id)
        self._arm()
