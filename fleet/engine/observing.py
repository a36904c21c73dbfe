"""
Who hears what a task does, for metrics and logs: behind one boundary.

An observer that raises must not take the step, the commit or the partition along that it hears of.
"""

from collections.abc import Callable
from typing import Any, Protocol

from fleet.config import logs
from fleet.engine.offsets import Lost
from fleet.engine.transitions.draft import Work
from fleet.engine.transitions.outcomes import Outcome
from fleet.engine.transitions.recoveries import Caught
from fleet.records.dead_letter import DeadLetter
from fleet.records.envelope import Envelope
from fleet.records.lifecycle import StepRecord

_log = logs.get_logger("observing")


class Observer(Protocol):
    """Hears what a task does, for metrics and logs."""

    def step_finished(self, work: Work, outcome: Outcome, step: StepRecord) -> None:
        """Hear that an attempt ended."""
        ...

    def run_started(self) -> None:
        """Hear that a run's start was read in `runs`."""
        ...

    def run_ended(self, outcome: str, seconds: float) -> None:
        """Hear that a run's effective end was read, *seconds* after its first event."""
        ...

    def dead_letter(self, run_id: str, letter: DeadLetter) -> None:
        """Hear that a dead letter was appended; *run_id* may be what stands in its place."""
        ...

    def failure_caught(self, work: Work, caught: Caught) -> None:
        """Hear that a step failed, and that its handler gets the failure."""
        ...

    def records_lost(self, topic: str, partition: int, lost: Lost) -> None:
        """Hear that an input does not have any more what was not done."""
        ...

    def answer_dropped(self, event: Envelope) -> None:
        """Hear that a run has no room for an event that no step waits for, or no step for an end.

        The end of a run that no step awaits any more is that: see `transitions.children`.
        """
        ...

    def committed(self, records: int, size: int, seconds: float) -> None:
        """Hear that a commit was acknowledged; *size* is that of its values, in bytes."""
        ...


class Guarded:
    """An observer whose errors are logged and stop nothing."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def step_finished(self, work: Work, outcome: Outcome, step: StepRecord) -> None:
        """See `Observer`."""
        _tell(self._observer.step_finished, work, outcome, step)

    def run_started(self) -> None:
        """See `Observer`."""
        _tell(self._observer.run_started)

    def run_ended(self, outcome: str, seconds: float) -> None:
        """See `Observer`."""
        _tell(self._observer.run_ended, outcome, seconds)

    def dead_letter(self, run_id: str, letter: DeadLetter) -> None:
        """See `Observer`."""
        _tell(self._observer.dead_letter, run_id, letter)

    def failure_caught(self, work: Work, caught: Caught) -> None:
        """See `Observer`."""
        _tell(self._observer.failure_caught, work, caught)

    def records_lost(self, topic: str, partition: int, lost: Lost) -> None:
        """See `Observer`."""
        _tell(self._observer.records_lost, topic, partition, lost)

    def answer_dropped(self, event: Envelope) -> None:
        """See `Observer`."""
        _tell(self._observer.answer_dropped, event)

    def committed(self, records: int, size: int, seconds: float) -> None:
        """See `Observer`."""
        _tell(self._observer.committed, records, size, seconds)


def _tell(observe: Callable[..., None], *what: Any) -> None:
    try:
        observe(*what)
    except Exception as failure:  # noqa: BLE001 - the boundary: see the module
        _log.warning("observer_failed", what=observe.__name__, error=type(failure).__qualname__)
