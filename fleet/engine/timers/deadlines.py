"""
The deadlines of a task's runs: one timer, set to the next one.

An index in memory, made again from the state when a task is loaded. Runs usually end before their
deadline, so what has ended is left in the heap for a while and cleared out in bulk.

A deadline counts from the commit of its run's state on. The record that it is counted from is read
before its own commit is acknowledged, which may tell that the broker's clock was set meanwhile.
"""

import asyncio
import heapq
from collections.abc import Callable

from fleet.engine.clock import BrokerClock

#: Ended runs that the heap may hold beside those that did not end, before it is built again.
_SLACK = 1_000
#: How often the clock is looked at in any case, in seconds.
LOOK_SECONDS = 60.0


class Deadlines:
    """Calls `passed` with a run's id when broker time has reached its deadline."""

    def __init__(self, clock: BrokerClock, passed: Callable[[str], None]) -> None:
        self._clock = clock
        self._passed = passed
        self._by_run: dict[str, int] = {}
        #: Those that no commit has told the time for: of the next one, and of the one under way.
        self._next: dict[str, int] = {}
        self._sealed: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._running = False

    def __len__(self) -> int:
        return len(self._by_run.keys() | self._sealed.keys() | self._next.keys())

    def add(self, run_id: str, deadline_ms: int) -> None:
        """Watch a run from the next commit on; *deadline_ms* is broker time, unix milliseconds."""
        self.drop(run_id)
        self._next[run_id] = deadline_ms

    def sealed(self) -> None:
        """Note that what was decided until now is being committed."""
        self._sealed |= self._next
        self._next = {}

    def committed(self) -> None:
        """Watch the runs whose state is in the log."""
        sealed, self._sealed = self._sealed, {}
        for run_id, deadline_ms in sealed.items():
            self.restore(run_id, deadline_ms)

    def restore(self, run_id: str, deadline_ms: int) -> None:
        """Watch a run whose state is in the log."""
        self._by_run[run_id] = deadline_ms
        heapq.heappush(self._heap, (deadline_ms, run_id))
        if self._heap[0] == (deadline_ms, run_id):
            self._arm()

    def drop(self, run_id: str) -> None:
        """Forget a run that has ended."""
        for watched in (self._by_run, self._sealed, self._next):
            watched.pop(run_id, None)
        if len(self._heap) > 2 * len(self._by_run) + _SLACK:
            self._heap = [(deadline_ms, run) for run, deadline_ms in self._by_run.items()]
            heapq.heapify(self._heap)

    def start(self) -> None:
        """Begin to call."""
        self._running = True
        self._arm()

    def time_is_another(self) -> None:
        """Look at the clock again, which was corrected: the timer was set by the one before."""
        self._arm()

    def stop(self) -> None:
        """Call no more."""
        self._running = False
        self._disarm()

    def _arm(self) -> None:
        self._disarm()
        # Not by a time that is only guessed: the next commit tells it.
        if self._running and self._heap and self._clock.known:
            # Some loops take no delay of more than a day, and a machine may have been suspended.
            wait_seconds = min((self._heap[0][0] - self._clock.now_ms()) / 1000, LOOK_SECONDS)
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
