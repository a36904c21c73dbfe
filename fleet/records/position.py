"""
The position in one input topic: which records of a task's partition are done.

It is an entry of the state. Each commit writes it; the next owner of the partition, `fleet lag` and
other versions of Fleet read it. So there is one codec.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Self

from pydantic_core import from_json, to_json

#: Ranges of offsets in rising order, each from its first up to its second, exclusive.
Gaps = tuple[tuple[int, int], ...]


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
    #: Offsets that had no record.
    gaps: Gaps = ()
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
            if self.newer or self.gaps:
                value.append(_lengths(self.gaps))
            value += self.newer
        return to_json(value)

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a record of this version, an older or a newer one."""
        following, pending, *log = from_json(value)
        if not log:
            return cls(following, tuple(pending))
        log_id, last_offset, last_ms, *more = log
        gaps = _gaps(more[0]) if more else ()
        return cls(following, tuple(pending), log_id, last_offset, last_ms, gaps, tuple(more[1:]))


def _lengths(gaps: Gaps) -> list[int]:
    """Return where the first gap begins, and then in turn how long a gap and a distance is.

    There are many gaps and they are short, so this is, too.
    """
    found: list[int] = []
    at = 0
    for first, end in gaps:
        found += (first - at, end - first)
        at = end
    return found


def _gaps(lengths: Sequence[int]) -> Gaps:
    bounds = tuple(accumulate(lengths))
    return tuple(zip(bounds[::2], bounds[1::2], strict=True))
