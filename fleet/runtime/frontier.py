"""
Which offsets of one input partition are done.

Everything below `next` was delivered; what of it is not done is pending. So the position that a
commit records is two things, `next` and the pending offsets, and the frontier is the lowest of
them. Offsets that a `read_committed` reader never sees (transaction markers, aborted records) are
below `next` and not pending, which is right: there is nothing to do for them.

This holds only while every record from the frontier on is handed to `deliver`, without a gap. The
consumer sees to that: whatever it drops, it seeks back for.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from pydantic_core import from_json, to_json


class Delivery(enum.Enum):
    """What a delivered record is to a task."""

    NEW = "new"
    #: It was delivered to a predecessor, which left it unfinished.
    AGAIN = "again"
    #: It is done or being worked on, as after a rebalance: nothing is to be done.
    KNOWN = "known"


@dataclass(slots=True)
class Frontier:
    """The window of one input partition, from the lowest offset that is not done."""

    next: int = 0
    #: Offsets that were delivered and are not done; the value tells whether work has begun here.
    _pending: dict[int, bool] = field(default_factory=dict)
    #: The frontier as the last commit recorded it.
    committed: int = 0
    #: The frontier as the commit in progress records it.
    sealed: int = 0
    #: The position is to be part of the next commit.
    dirty: bool = False

    def deliver(self, offset: int) -> Delivery:
        """Note a delivered record; return what it is to this task."""
        if offset >= self.next:
            self.next = offset + 1
            self._pending[offset] = True
            return Delivery.NEW
        if self._pending.get(offset) is False:
            self._pending[offset] = True
            return Delivery.AGAIN
        return Delivery.KNOWN

    def done(self, offset: int) -> None:
        """Note that nothing more is to be done for this record."""
        del self._pending[offset]
        self.dirty = True

    @property
    def pending(self) -> int:
        """How many records are delivered and not done."""
        return len(self._pending)

    @property
    def lowest(self) -> int:
        """The frontier: the lowest offset that is not done, delivered or not."""
        # Offsets are delivered in rising order, and a dictionary keeps the order of insertion.
        return next(iter(self._pending), self.next)

    @property
    def unseen(self) -> int:
        """The lowest offset that has to be delivered, for the first time or again."""
        return next((offset for offset, begun in self._pending.items() if not begun), self.next)

    def encode(self) -> bytes:
        """Return the position record."""
        return to_json([self.next, list(self._pending)])

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a position record; its pending offsets wait to be delivered again."""
        following, pending = from_json(value)
        return cls.restored(following, pending)

    @classmethod
    def restored(cls, following: int, pending: Iterable[int]) -> Self:
        """Return a frontier as a commit left it."""
        frontier = cls(next=following, _pending=dict.fromkeys(sorted(pending), False))
        frontier.committed = frontier.lowest
        return frontier
