"""
Which stream records of a run its reader sees: each event once and in order, of the newest attempt.

A stream record is numbered within its attempt, and an attempt's id begins with its start time. So
the reader recognises a record that it reads again, and notices a missing one.
"""

from dataclasses import dataclass, field

from fleet.config import logs
from fleet.records.envelope import Envelope

_log = logs.get_logger("caller")


@dataclass(slots=True)
class _Attempts:
    """The attempts of one step on one event; the last one counts."""

    current: str
    older: set[str] = field(default_factory=set)
    #: Number of the next event; None until the first one was read.
    following: int | None = None
    #: How many events of the current attempt its reader has seen.
    shown: int = 0


class Shown:
    """Which stream records of a run are for its reader."""

    def __init__(self) -> None:
        #: The stream is read from the run's beginning, so nothing may be missing.
        self._from_the_start = True
        self._steps: dict[tuple[str, str], _Attempts] = {}

    def miss_some(self) -> None:
        """Hear that the log has lost records, so an attempt may begin with any number."""
        self._from_the_start = False

    def take(self, envelope: Envelope) -> int | None:
        """Return how many events that were shown a record voids; None if it is not to be shown.

        Most void none. The first of a newer attempt voids those of the older one.
        """
        attempt, _, number = envelope.event_id.rpartition("-")
        if not number.isdecimal():
            return None
        steps = self._steps.setdefault((envelope.parent_id, envelope.step), _Attempts(attempt))
        before = steps.current, steps.shown
        if not (self._is_current(steps, attempt) and self._is_new(steps, int(number), envelope)):
            return None
        if steps.current == before[0]:
            steps.shown += 1
            return 0
        steps.shown = 1
        return before[1]

    def _is_current(self, attempts: _Attempts, attempt: str) -> bool:
        if attempt in attempts.older:
            return False
        if attempt == attempts.current:
            return True
        if _began(attempt) < _began(attempts.current):
            # Of an earlier owner, which was held up.
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
    """Return when an attempt began, in unix milliseconds; 0 if its id does not say it."""
    try:
        return int(attempt.partition(".")[0], 16) if "." in attempt else 0
    except ValueError:
        return 0
