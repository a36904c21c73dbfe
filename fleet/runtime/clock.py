"""
Broker time on a worker.

Deadlines are counted from broker timestamps, so a worker whose clock is off must not let them pass
early or late. Each acknowledged commit says what time the broker had.
"""

import time
from collections.abc import Callable


class BrokerClock:
    """The local clock, corrected by the last append time that the broker told."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._skew_ms = 0.0

    def now_ms(self) -> float:
        """Return the broker's time in unix milliseconds, as far as it is known."""
        return self._wall() * 1000 + self._skew_ms

    def observe(self, appended_ms: int) -> None:
        """Take the append time of a record that was acknowledged just now."""
        if appended_ms > 0:
            self._skew_ms = appended_ms - self._wall() * 1000
