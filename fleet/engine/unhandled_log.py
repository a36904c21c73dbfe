"""Tells the log of events that no step accepts: a caller sees them only if it asks for them."""

from fleet.config import logs
from fleet.records.topics import Topics

_log = logs.get_logger("task")


class UnhandledLog:
    """Of one task: once for each type and sender."""

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
