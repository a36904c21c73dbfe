"""
Broker time on a worker.

Deadlines are counted from the append times of `runs`, so they pass by the clock of the broker that
leads that partition. A worker measures how time passes with its monotonic clock, which nobody sets,
and learns from each acknowledged commit what time the broker has. Its wall clock decides nothing.
"""

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

    def now_ms(self) -> float:
        """Return the broker's time in unix milliseconds; while it is not `known`, one that was."""
        return self.at_ms(self._monotonic())

    def at_ms(self, moment: float) -> float:
        """Return what the broker's time was at a *moment* of the monotonic clock, in seconds."""
        return self._began_ms + moment * 1000

    def has_been(self, appended_ms: float) -> None:
        """Take the append time of a record that was read, where nothing better is known."""
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
        # It was appended at some time in between: what fits that is not touched.
        latest, earliest = told - (now - seconds) * 1000, told - now * 1000
        comparable = self.known and self._exact is exact
        began = min(max(self._began_ms, earliest), latest) if comparable else earliest
        moved = not self.known or began != self._began_ms
        self._began_ms, self.known, self._exact = began, True, exact
        return moved
