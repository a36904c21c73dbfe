"""
The position in one input topic: which records of a task's partition are done.

It is an entry of the state. Each commit writes it; the next owner of the partition, `fleet lag` and
other versions of Fleet read it. So there is one codec.
"""

from dataclasses import dataclass
from typing import Any, Self

from pydantic_core import from_json, to_json

#: A range of offsets that is empty.
NO_GAP = (0, 0)


@dataclass(frozen=True, slots=True)
class Position:
    """Every offset below *next* was delivered; of these, only the *pending* ones are not done."""

    next: int
    pending: tuple[int, ...] = ()
    #: The id of the topic that the offsets belong to; empty if the broker gives none.
    log_id: str = ""
    #: The last record that was delivered for the first time: its offset (-1: none) and its append
    #: time in unix milliseconds.
    last_offset: int = -1
    last_ms: int = 0
    #: Offsets that had no record: from the first up to the second, exclusive.
    gap: tuple[int, int] = NO_GAP
    #: Values that a newer version wrote after the fields that this one knows. They are kept.
    newer: tuple[Any, ...] = ()

    @property
    def lowest(self) -> int:
        """The lowest offset that is not done: the one that a consumer group may commit."""
        return min(self.pending, default=self.next)

    def encode(self) -> bytes:
        """Return the record's value, a JSON array. Unknown values at its end are left out."""
        value: list[object] = [self.next, self.pending]
        if self.log_id or self.last_offset >= 0:
            value += [self.log_id, self.last_offset, self.last_ms]
            if self.newer or self.gap[0] < self.gap[1]:
                value += self.gap
            value += self.newer
        return to_json(value)

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a record of this version, an older or a newer one."""
        following, pending, *log = from_json(value)
        if not log:
            return cls(following, tuple(pending))
        log_id, last_offset, last_ms, *more = log
        gap = (more[0], more[1]) if more else NO_GAP
        return cls(following, tuple(pending), log_id, last_offset, last_ms, gap, tuple(more[2:]))
