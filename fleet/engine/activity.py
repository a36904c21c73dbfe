"""What people hear of the steps of a workflow: lines of `verbose=True`, and lost events."""

from collections.abc import Callable

from fleet.config import logs
from fleet.engine.transitions.draft import Work
from fleet.engine.transitions.outcomes import Outcome, Raised, Suspends
from fleet.records.events import type_name
from fleet.records.topics import Topics

_log = logs.get_logger("task")

#: Characters of a run's id that a line shows.
_RUN_ID_LENGTH = 8


class Activity:
    """Says when attempts start, and what they end with; by default on stdout."""

    def __init__(self, say: Callable[[str], object] = print) -> None:
        self._say = say

    def started(self, work: Work) -> None:
        """Say that an attempt starts."""
        self._say(f"{_step(work)} started from {work.envelope.type}")

    def finished(self, work: Work, outcome: Outcome) -> None:
        """Say what an attempt ends with."""
        if isinstance(outcome, Raised):
            self._say(f"{_step(work)} failed with {type(outcome.error).__name__}")
            return
        if isinstance(outcome, Suspends):
            self._say(f"{_step(work)} waits")
            return
        returned = [type_name(sent.event) for sent in outcome.sent if sent.returned]
        if outcome.fans_out:
            self._say(f"{_step(work)} complete with a list of {len(returned)}")
        else:
            self._say(f"{_step(work)} complete with {next(iter(returned), 'no result')}")


def _step(work: Work) -> str:
    return f"[{work.step.name}:{work.envelope.run_id[:_RUN_ID_LENGTH]}]"


class UnhandledLog:
    """Tells the log of events that no step of a task accepts: once for each type and sender."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._said: set[tuple[str, str]] = set()

    def say(self, event_type: str, sender: str) -> None:
        """Log that *sender*, a step or "" for outside, sends events that no step accepts."""
        if (event_type, sender) not in self._said:
            self._said.add((event_type, sender))
            _log.warning(
                "event_unhandled", engine=self._topics.engine_id, type=event_type, sender=sender
            )
