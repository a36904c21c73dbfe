"""How far a reader of a stream has come, as a text that another process can continue from."""

import hashlib
import re
from typing import NamedTuple, Self

from fleet.records import printable
from fleet.workflow.errors import WorkflowConfigurationError

#: Of a record, a reader gets first that it voids older events, then its event.
RESTART, EVENT = 0, 1
#: Of a run whose last event was not read.
NOT_ENDED = -1
_TEXT = re.compile(
    r"1-([0-9a-f]{12})-([0-9a-f]{1,16})-([0-9a-f]{1,16})([re])(?:-([0-9a-f]{1,16}))?"
)


class BadCursor(WorkflowConfigurationError, ValueError):
    """Raised when `stream_events(after=...)` gets a text that is no cursor of the run's stream.

    What to do: Pass what `.cursor` of an iterator of `stream_events()` of the same run gave. Leave
    `after` out to read the stream from its beginning.
    """

    def __init__(self, run_id: str, given: object, reason: str) -> None:
        super().__init__(
            f"after={printable.line(repr(given))} {reason}; pass the .cursor of an iterator of "
            f"stream_events() of run {printable.line(run_id)}, or leave `after` out"
        )


class Cursor(NamedTuple):
    """The place of the event that was read last."""

    #: Offset at or before which the run's stream begins.
    begin: int
    #: Of the record that was read last.
    offset: int
    #: `RESTART` or `EVENT`: what was read of that record.
    part: int = EVENT
    #: The epoch whose end was read as the last event; `NOT_ENDED` if none was.
    ended: int = NOT_ENDED

    def text(self, topic: str, run_id: str) -> str:
        """Return it as a text, for a reader of the same run."""
        ended = "" if self.ended == NOT_ENDED else f"-{self.ended:x}"
        # An offset of -1 is the place before the first record.
        place = f"{self.begin:x}-{self.offset + 1:x}{'re'[self.part]}"
        return f"1-{_digest(topic, run_id)}-{place}{ended}"

    @classmethod
    def of(cls, given: object, topic: str, run_id: str) -> Self:
        """Read a text; raise BadCursor."""
        found = _TEXT.fullmatch(given) if isinstance(given, str) else None
        if found is None:
            raise BadCursor(run_id, given, "is no cursor")
        digest, begin, offset, part, ended = found.groups()
        if digest != _digest(topic, run_id):
            raise BadCursor(run_id, given, "is a cursor of another run")
        epoch = int(ended, 16) if ended else NOT_ENDED
        return cls(int(begin, 16), int(offset, 16) - 1, "re".index(part), epoch)

    @property
    def place(self) -> tuple[int, int]:
        """Orders what the log shows."""
        return self.offset, self.part


def _digest(topic: str, run_id: str) -> str:
    return hashlib.sha256(f"{topic}\0{run_id}".encode()).hexdigest()[:12]
