"""
The stream of one run, as one handler has it: what comes, and where it stands in the log.

The newest records stay here, so a reader that keeps up reads nothing twice. A reader that falls
behind, comes late or continues from a cursor reads the log again. So a slow reader costs no memory,
and slows nothing.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from typing import Protocol
from weakref import WeakSet

from fleet.client.streams.cursor import Cursor
from fleet.client.streams.reader import EventReader
from fleet.records.events import Event
from fleet.records.log import Delivered, Page

#: How many records of a run's stream stay in memory, at most, and how many bytes of values.
KEPT_RECORDS = 500
KEPT_BYTES = 1024 * 1024
#: How many are dropped at a time.
_CHUNK = 50

#: Makes an event of a type's name and a value.
Decode = Callable[[str, bytes], Event]
#: Where a run's stream begins in the log, or what finds that.
Beginning = int | Callable[[], Awaitable[int]]


class StreamLog(Protocol):
    """How the stream is read again."""

    async def read_stream(self, run_id: str, first: int, end: int) -> Page:
        """Return the run's records of `stream` from offset *first* up to *end*, without *end*."""
        ...


class EventStream:
    """The stream records of one run, and its readers."""

    def __init__(self, run_id: str, topic: str, log: StreamLog, decode: Decode) -> None:
        self.run_id = run_id
        self.topic = topic
        self.log = log
        self.decode = decode
        self._kept: list[Delivered] = []
        self._kept_bytes = 0
        #: Every record of the run from this offset on was taken, and is here; None: not followed.
        self._kept_from: int | None = None
        #: Where that offset was when it began to be followed.
        self._followed_from = 0
        #: Offset behind all that was taken.
        self.end_offset = 0
        self._beginning: Beginning | None = None
        self.is_over = False
        #: The last event, made of the run's end, and the epoch that ended.
        self.last_event: Event | None = None
        self.ended_epoch = 0
        #: Weakly: a reader that was left is none.
        self._readers: WeakSet[EventReader] = WeakSet()
        #: Replaced at each change; setting the old one wakes its readers.
        self._changed: asyncio.Event | None = None

    @property
    def has_readers(self) -> bool:
        """Whether it has readers."""
        return bool(self._readers)

    @property
    def is_placed(self) -> bool:
        """Whether it is known where in the log the stream begins and is followed."""
        return self._kept_from is not None and self._beginning is not None

    @property
    def kept_from(self) -> int:
        """The offset from which on every record of the run is here."""
        return self._kept_from or 0

    def read(self, after: str | None = None, *, expose_internal: bool = False) -> EventReader:
        """Return a reader, from the beginning or behind a cursor; raise BadCursor."""
        cursor = None if after is None else Cursor.of(after, self.topic, self.run_id)
        reader = EventReader(self, cursor, expose_internal=expose_internal)
        self._readers.add(reader)
        return reader

    # -- what becomes of it -----------------------------------------------------------------------

    def followed_from(self, offset: int) -> None:
        """Hear that every record from *offset* on comes here."""
        if self._kept_from is None:
            self._kept_from = self._followed_from = offset
            self.end_offset = max(self.end_offset, offset)
            self._kept = [record for record in self._kept if record.offset >= offset]
            self._kept_bytes = sum(map(_size, self._kept))
            self._wake()

    def begins(self, beginning: Beginning | None = None) -> None:
        """Hear where the run's stream begins; without *beginning* where it began to be followed."""
        if self._beginning is None:
            self._beginning = self._followed_from if beginning is None else beginning
            self._wake()

    def take(self, record: Delivered) -> None:
        """Take the next record of the run."""
        if record.offset < self.end_offset:
            # It stands before the place from which the stream is followed.
            return
        self._kept.append(record)
        self._kept_bytes += _size(record)
        self.end_offset = record.offset + 1
        if len(self._kept) > KEPT_RECORDS or self._kept_bytes > KEPT_BYTES:
            self._shorten()
        self._wake()

    def end(self, last_event: Event | None = None, epoch: int = 0) -> None:
        """Hear that nothing follows but *last_event*, which says how *epoch* ended."""
        if not self.is_over:
            self.is_over, self.last_event, self.ended_epoch = True, last_event, epoch
            self._wake()

    # -- for its readers --------------------------------------------------------------------------

    async def beginning(self) -> int:
        """Return the offset at which the run's stream begins, or one before."""
        assert self._beginning is not None, "asked when the stream is placed"
        if callable(self._beginning):
            self._beginning = await self._beginning()
        return self._beginning

    def records_from(self, offset: int) -> list[Delivered]:
        """Return what is here from *offset* on."""
        return self._kept[bisect_left(self._kept, offset, key=_offset) :]

    async def changed(self) -> None:
        """Return when something has come, or the stream has ended."""
        self._changed = self._changed or asyncio.Event()
        await self._changed.wait()

    def _shorten(self) -> None:
        """Drop the oldest records: the log has them."""
        if self._kept_from is None:
            # They come before it is known from where on none is missing.
            dropped, self._kept = self._kept, []
        else:
            dropped, self._kept = self._kept[:_CHUNK], self._kept[_CHUNK:]
            self._kept_from = dropped[-1].offset + 1
        self._kept_bytes -= sum(map(_size, dropped))

    def _wake(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()


def _offset(record: Delivered) -> int:
    return record.offset


def _size(record: Delivered) -> int:
    return len(record.value or b"")
