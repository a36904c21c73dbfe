"""What a task learns of the broker's time, and whom it tells."""

from collections.abc import Iterable
from typing import Protocol

from fleet.engine.clock import BrokerClock
from fleet.engine.commits import Committed
from fleet.engine.inputs import Inputs

#: A broker's clock that is corrected by more was set back, in milliseconds.
_SET_BACK_MS = 1_000.0


class Timer(Protocol):
    """Is set by the broker's time."""

    def time_is_another(self) -> None:
        """Look at the clock again, which was corrected."""
        ...


class TimeKeeping:
    """Corrects a task's clock by what the broker tells."""

    def __init__(
        self, clock: BrokerClock, runs_topic: str, timers: Iterable[Timer], inputs: Inputs
    ) -> None:
        self._clock = clock
        self._runs_topic = runs_topic
        self._timers = timers
        self._inputs = inputs

    def read(self, appended_ms: float) -> None:
        """Take the append time of a record of `runs` that a task wrote and that is read now."""
        before_ms = self._clock.now_ms()
        if self._clock.read(appended_ms):
            self._corrected(before_ms)

    def committed(self, commit: Committed) -> None:
        """Take the append times of a commit that was acknowledged just now."""
        before_ms, runs = self._clock.now_ms(), self._runs_topic
        moved = self._clock.observe(commit.times, commit.seconds)
        records = commit.draft.records
        if runs not in commit.times and any(record.topic == runs for record in records):
            moved |= self._clock.not_told(commit.seconds)
        if moved:
            self._corrected(before_ms)

    def _corrected(self, before_ms: float) -> None:
        for timer in self._timers:
            timer.time_is_another()
        if self._clock.now_ms() < before_ms - _SET_BACK_MS:
            self._inputs.reading.forget_times()
