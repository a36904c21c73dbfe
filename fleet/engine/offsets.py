"""
Which offsets of one input partition are done.

Everything below `next` was delivered; what of it is not done is pending. So the position that a
commit records is two things, `next` and the pending offsets, and the committable offset is the
lowest of them. Offsets that a `read_committed` reader never sees (transaction markers, aborted
records) are below `next` and not pending, which is right: there is nothing to do for them.

This holds only while every record from that offset on is handed to `deliver`, without a gap. The
consumer sees to that: whatever it drops, it seeks back for.

Offsets mean something in one log only. So a position names its log by the topic's id, and the last
record that was delivered by its append time: see `log_check`.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, Self

from fleet.records.position import Gaps, Position

#: How many gaps a position has at most: it is part of each commit.
MOST_GAPS = 16


class Delivery(enum.Enum):
    """What a delivered record is to a task."""

    NEW = "new"
    #: It was delivered to a predecessor, which left it unfinished.
    AGAIN = "again"
    #: It is done or being worked on, as after a rebalance: nothing is to be done.
    KNOWN = "known"


class Lost(NamedTuple):
    """What a log does not have any more and was not done."""

    #: Offsets that were delivered to a predecessor, which left them unfinished.
    pending: tuple[int, ...]
    #: Offsets that were never delivered: each range from its first up to its second, which is not
    #: in it. Some of them may be transaction markers, which are no records. Of more ranges than
    #: `MOST_GAPS` the nearest are joined, with what was delivered between them.
    unread: tuple[tuple[int, int], ...]

    @property
    def records(self) -> int:
        """How many records that is, at most."""
        return len(self.pending) + sum(end - begin for begin, end in self.unread)


@dataclass(slots=True)
class OffsetTracker:
    """The offsets of one input partition that are not done."""

    next: int = 0
    #: Offsets that were delivered and are not done; the value tells whether work has begun here.
    _pending: dict[int, bool] = field(default_factory=dict)
    #: The committable offset as the last commit recorded it.
    committed: int = 0
    #: The committable offset as the commit in progress records it.
    sealed: int = 0
    #: The position is to be part of the next commit.
    dirty: bool = False
    #: The id of the topic that the offsets are of; empty if the broker tells none.
    log_id: str = ""
    #: The last record that was delivered for the first time: its offset and its append time, in
    #: unix milliseconds. -1: none, or one that was not noted.
    last_offset: int = -1
    last_ms: int = 0
    #: Offsets that were passed over without a record: those since the log's beginning was asked for
    #: the last time, and those before.
    _gaps: Gaps = ()
    _asked: Gaps = ()
    #: What a newer version has written behind what is known here.
    _newer: tuple[Any, ...] = ()

    def deliver(self, offset: int, appended_ms: int | None = None) -> Delivery:
        """Note a delivered record; return what it is to this task.

        With its append time, in unix milliseconds, it is noted as the last record of the log.
        """
        if offset >= self.next:
            self._skip(offset)
            self.next = offset + 1
            self._pending[offset] = True
            if appended_ms is not None:
                self.last_offset, self.last_ms = offset, appended_ms
            return Delivery.NEW
        if self._pending.get(offset) is False:
            self._pending[offset] = True
            return Delivery.AGAIN
        return Delivery.KNOWN

    def done(self, offset: int) -> None:
        """Note that nothing more is to be done for this record."""
        del self._pending[offset]
        self.dirty = True

    def __contains__(self, offset: int) -> bool:
        """Whether a record was delivered and is not done."""
        return offset in self._pending

    def passed(self, position: int) -> None:
        """Note that everything below *position* was delivered.

        The last offsets may be no records. If `next` did not move over them, they would look like
        unread ones when retention removes them.
        """
        if position > self.next:
            self._skip(position)
            self.next = position
            self.dirty = True

    def _skip(self, offset: int) -> None:
        if offset <= self.next:
            return
        gaps, first = self._gaps, self.next
        if gaps and gaps[-1][1] == first:
            gaps, first = gaps[:-1], gaps[-1][0]
        self._gaps = _few((*gaps, (first, offset)))

    def ask(self) -> None:
        """Note that the log's beginning is asked for: the answer judges what was skipped so far."""
        self._asked, self._gaps = _few(self._asked + self._gaps), ()

    def skipped(self, begin: int) -> Lost | None:
        """Return what was skipped before `ask` and is not in a log that begins at *begin*.

        A consumer whose position is not in the log any more continues where the log begins. What it
        has skipped elsewhere are no records.
        """
        asked, self._asked = self._asked, ()
        self.dirty = self.dirty or bool(asked)
        gone = tuple((first, min(end, begin)) for first, end in asked if first < begin)
        return Lost((), gone) if gone else None

    def cut(self, begin: int, *, read: bool = False) -> Lost | None:
        """Let go of what is below *begin*, where the log begins, and is still to be delivered.

        With *read* that is only what a predecessor had: everything else was.
        """
        gone = tuple(
            offset for offset, begun in self._pending.items() if offset < begin and not begun
        )
        unread = ((self.next, begin),) if begin > self.next and not read else ()
        if not gone and not unread:
            return None
        for offset in gone:
            del self._pending[offset]
        self.next = self.next if read else max(self.next, begin)
        self.dirty = True
        return Lost(gone, unread)

    @property
    def pending(self) -> int:
        """How many records are delivered and not done."""
        return len(self._pending)

    @property
    def lowest(self) -> int:
        """The committable offset: the lowest that is not done, delivered or not."""
        # Offsets are delivered in rising order, and a dictionary keeps the order of insertion.
        return next(iter(self._pending), self.next)

    @property
    def unseen(self) -> int:
        """The lowest offset that has to be delivered, for the first time or again."""
        return next((offset for offset, begun in self._pending.items() if not begun), self.next)

    def touch(self) -> None:
        """Let the position be part of the next commit."""
        self.dirty = True

    def find(self, log_id: str, begin: int | None = None) -> None:
        """Note the id of the log, if none is known.

        A log that nothing was read of begins at *begin*: what was before is no loss.
        """
        if begin is not None:
            self.next, self.dirty = max(self.next, begin), True
        if log_id and not self.log_id:
            self.log_id, self.dirty = log_id, True

    def seal(self) -> bytes:
        """Return the position record, for the commit that is about to be sealed."""
        self.dirty, self.sealed = False, self.lowest
        return self._position().encode()

    def settle(self) -> None:
        """Note that the sealed position is in the log."""
        self.committed = max(self.committed, self.sealed)

    def _position(self) -> Position:
        return Position(
            self.next,
            tuple(self._pending),
            self.log_id,
            self.last_offset,
            self.last_ms,
            _few(self._asked + self._gaps),
            self._newer,
        )

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a position record; its pending offsets wait to be delivered again."""
        position = Position.decode(value)
        tracker = cls.restored(position.next, position.pending)
        tracker.log_id = position.log_id
        tracker.last_offset, tracker.last_ms = position.last_offset, position.last_ms
        tracker._gaps, tracker._newer = position.gaps, position.newer  # noqa: SLF001 - of this class
        return tracker

    @classmethod
    def restored(cls, following: int, pending: Iterable[int]) -> Self:
        """Return the offsets as a commit left them."""
        tracker = cls(next=following, _pending=dict.fromkeys(sorted(pending), False))
        tracker.committed = tracker.lowest
        return tracker


def _few(gaps: Gaps) -> Gaps:
    """Join gaps that are too many to those nearest to them; what lies between counts as skipped."""
    while len(gaps) > MOST_GAPS:
        distances = [after[0] - before[1] for before, after in pairwise(gaps)]
        at = distances.index(min(distances))
        gaps = (*gaps[:at], (gaps[at][0], gaps[at + 1][1]), *gaps[at + 2 :])
    return gaps
