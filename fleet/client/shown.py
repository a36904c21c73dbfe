"""
What a run's steps show, as its reader gets it: each event once and in order, of the newest attempt.

A stream record is numbered within its attempt, whose id begins with when it began. So a record that
is read again is recognised, and one that is missing is noticed.
"""

from dataclasses import dataclass, field

from fleet.config import logs
from fleet.records.envelope import Envelope

_log = logs.get_logger("caller")


@dataclass(slots=True)
class _Attempts:
    """The attempts of one step on one event, of which the last one counts."""

    current: str
    older: set[str] = field(default_factory=set)
    #: Number of the event that comes next; None until the first one was read.
    following: int | None = None


class Shown:
    """Which stream records of a run are for its reader."""

    def __init__(self, *, from_the_start: bool) -> None:
        #: Whether the stream was followed before the run began: then nothing may be missing.
        self._from_the_start = from_the_start
        self._steps: dict[tuple[str, str], _Attempts] = {}

    def is_next(self, envelope: Envelope) -> bool:
        """Tell whether a stream record is to be shown; those of older attempts are not."""
        attempt, _, number = envelope.event_id.rpartition("-")
        if not number.isdecimal():
            return False
        steps = self._steps.setdefault((envelope.parent_id, envelope.step), _Attempts(attempt))
        return self._is_current(steps, attempt) and self._is_new(steps, int(number), envelope)

    def _is_current(self, attempts: _Attempts, attempt: str) -> bool:
        if attempt in attempts.older:
            return False
        if attempt == attempts.current:
            return True
        if _began(attempt) < _began(attempts.current):
            # Of an owner before, which was held up.
            attempts.older.add(attempt)
            return False
        attempts.older.add(attempts.current)
        attempts.current, attempts.following = attempt, None
        return True

    def _is_new(self, attempts: _Attempts, number: int, envelope: Envelope) -> bool:
        began_late = attempts.following is None and not self._from_the_start
        following = number if began_late else attempts.following or 0
        if number < following:
            return False
        if number > following:
            _log.warning(
                "stream_gap",
                run_id=envelope.run_id,
                step=envelope.step,
                missing=f"{following}-{number - 1}",
            )
        attempts.following = number + 1
        return True


def _began(attempt: str) -> int:
    """Return when an attempt began, in unix milliseconds; 0 where its id does not say it."""
    try:
        return int(attempt.partition(".")[0], 16) if "." in attempt else 0
    except ValueError:
        return 0
