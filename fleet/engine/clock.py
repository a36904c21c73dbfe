"""
Broker time on a worker.

Deadlines are counted from the append times of `runs`, so they pass by the clock of the broker that
leads that partition. A worker measures how time passes with its monotonic clock, which cannot be
set, and learns from each acknowledged commit what time the broker has. Its wall clock decides
nothing.
"""

import math
from collections.abc import Callable, Mapping


class BrokerClock:
    """A monotonic clock that is set by append times: those of *reference*, once it was told one."""

    def __init__(self, monotonic: Callable[[], float], reference: str) -> None:
        self._monotonic = monotonic
        self._reference = reference
        #: What time the broker had when the monotonic clock began, in unix milliseconds.
        self._began_ms = -monotonic() * 1000
        #: Whether a commit has told it, and whether *reference* has.
        self.known = False
        self._exact = False
        #: When the first commit began that has told nothing since one has, and when a record of
        #: *reference* was read last, by the monotonic clock; and what its append time was.
        self._not_told: float | None = None
        self._read_at, self._read_ms = -math.inf, 0.0

    def now_ms(self) -> float:
        """Return the broker's time in unix milliseconds; while it is not `known`, one that was."""
        return self.at_ms(self._monotonic())

    def now(self) -> float:
        """Return the moment of the monotonic clock, in seconds."""
        return self._monotonic()

    def at_ms(self, moment: float) -> float:
        """Return what the broker's time was at a *moment* of the monotonic clock, in seconds."""
        return self._began_ms + moment * 1000

    def has_been(self, appended_ms: float) -> None:
        """Take the append time of a record that was read, while nothing better is known."""
        if not self.known:
            self._began_ms = max(self._began_ms, appended_ms - self._monotonic() * 1000)

    def observe(self, times: Mapping[str, int], seconds: float) -> bool:
        """Take the append times of a commit that took *seconds* and was acknowledged just now.

        By topic. Return whether the time is another than it was taken for. Brokers' clocks differ:
        other topics than *reference* count only while that has told nothing.
        """
        exact = times.get(self._reference, 0) > 0
        told = times[self._reference] if exact else max(times.values(), default=0)
        if told <= 0 or (self._exact and not exact):
            return False
        now = self._monotonic()
        return self._fit(told, now - seconds, now, exact=exact)

    def not_told(self, seconds: float) -> bool:
        """Note a commit to *reference* that took *seconds* and did not tell its time.

        So is the answer about a duplicate whose place the broker has forgotten. What was appended
        is read, too, before the acknowledgement or after it. Return as `observe` does.
        """
        began = self._monotonic() - seconds
        if self._read_at >= began:
            return self._fit(self._read_ms, began, self._read_at, exact=True)
        self._not_told = began if self._not_told is None else self._not_told
        return False

    def read(self, appended_ms: float) -> bool:
        """Take the append time of a record of *reference* that a task wrote and that is read now.

        It counts if a commit has told nothing. Return as `observe` does.
        """
        self._read_at, self._read_ms = self._monotonic(), appended_ms
        if self._not_told is None:
            return False
        return self._fit(appended_ms, self._not_told, self._read_at, exact=True)

    def _fit(self, told: float, began: float, ended: float, *, exact: bool) -> bool:
        """Take the time of an append between two moments of the monotonic clock."""
        # What fits is not touched. What does not may be a clock that was set back during a long
        # commit: taken for as early as it may be, it lets no deadline pass early.
        earliest, latest = told - ended * 1000, told - began * 1000
        comparable = self.known and self._exact is exact
        fits = comparable and earliest <= self._began_ms <= latest
        began_ms = self._began_ms if fits else earliest
        moved = not self.known or began_ms != self._began_ms
        self._began_ms, self.known, self._exact = began_ms, True, exact
        if exact:
            self._not_told = None
        return moved
