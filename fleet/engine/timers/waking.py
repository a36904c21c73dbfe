"""
Wakes the suspended work of a task whose time has come: one timer, set to what is due next.

What is due when is in the state (`transitions.timed`), and a task reads there only what it wakes
now: waiting takes no memory. A great deal may be due at once, as after an hour without a worker. So
a task wakes some, and more when it takes more.
"""

import asyncio
from collections.abc import Callable

from fleet.engine.clock import BrokerClock
from fleet.engine.ledger import Ledger
from fleet.engine.timers.deadlines import LOOK_SECONDS
from fleet.engine.transitions.draft import Draft
from fleet.records import state

#: How many entries are woken in one turn of the loop.
TURN_RECORDS = 200
#: After how long a task that takes no more is asked again, in seconds.
BUSY_SECONDS = 0.05


class Waking:
    """Calls `wake` with the key of each time that has come; see `state.due_key`."""

    def __init__(
        self,
        clock: BrokerClock,
        ledger: Ledger,
        wake: Callable[[bytes], bool | None],
        takes_more: Callable[[], bool],
        broken: Callable[[Exception], object],
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        #: Returns whether it is too early: then it is asked again.
        self._wake = wake
        #: Whether the task takes more work now.
        self._takes_more = takes_more
        self._broken = broken
        #: All that was due up to this key has been woken: the store may have it still.
        self._woken = state.DUE
        #: When the first is due of what is in the log, in unix milliseconds; None: nothing is.
        self._next_ms: int | None = 0
        #: It was too early for some of it: it is asked again.
        self._too_early = False
        self._timer: asyncio.TimerHandle | None = None
        self._running = False

    def start(self) -> None:
        """Begin to wake."""
        self._running = True
        self._arm()

    def stop(self) -> None:
        """Wake no more."""
        self._running = False
        self._disarm()

    def committed(self, draft: Draft) -> None:
        """Take into account what a commit has suspended."""
        due_ms = draft.first_due_ms
        if due_ms:
            self._woken = min(self._woken, state.due_key(due_ms, state.WAITING))
            if self._next_ms is None or due_ms < self._next_ms:
                self._next_ms = due_ms
                self._arm()

    def time_is_another(self) -> None:
        """Look at the clock again, which was corrected: the timer was set by the one before."""
        self._arm()

    def _arm(self) -> None:
        self._disarm()
        # Not by a time that is only guessed: the next commit tells it.
        if self._running and self._next_ms is not None and self._clock.known:
            # Some loops take no delay of more than a day, and a machine may have been suspended.
            wait_seconds = min((self._next_ms - self._clock.now_ms()) / 1000, LOOK_SECONDS)
            least_seconds = BUSY_SECONDS if self._too_early else 0.0
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(least_seconds, wait_seconds), self._try_to_look)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _try_to_look(self) -> None:
        try:
            self._look()
        except Exception as failure:  # noqa: BLE001 - a timer has no caller to raise to
            self._broken(failure)

    def _look(self) -> None:
        self._timer = None
        if not self._takes_more():
            self._timer = asyncio.get_running_loop().call_later(BUSY_SECONDS, self._try_to_look)
            return
        now_ms = self._clock.now_ms()
        found = self._ledger.store.scan(state.DUE, self._woken, TURN_RECORDS)
        self._next_ms, self._too_early = None, False
        for key, _ in found:
            due_ms, _ = state.due_of(key)
            if due_ms > now_ms:
                self._next_at(due_ms)
                break
            if self._wake(key):
                self._too_early = True
                self._next_at(due_ms)
            elif not self._too_early:
                self._woken = key
        else:
            if len(found) == TURN_RECORDS:
                self._next_at(state.due_of(found[-1][0])[0])
        self._arm()

    def _next_at(self, due_ms: int) -> None:
        if self._next_ms is None:
            self._next_ms = due_ms
