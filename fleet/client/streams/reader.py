"""One `async for` over a run's stream: it has its own place in the log, and says where that is."""

from collections import deque
from typing import TYPE_CHECKING, Self

from fleet.client.streams.cursor import EVENT, NOT_ENDED, RESTART, Cursor
from fleet.client.streams.shown import Shown
from fleet.config import logs
from fleet.records import envelope as envelopes
from fleet.records import printable
from fleet.records.envelope import BrokenEnvelope, Envelope
from fleet.records.events import (
    Event,
    InternalDispatchEvent,
    StreamRestarted,
    UndecodableEvent,
)
from fleet.records.foreign import FOREIGN, told
from fleet.records.log import Delivered, Page
from fleet.workflow.errors import WorkflowRuntimeError

if TYPE_CHECKING:
    from fleet.client.streams.event_stream import EventStream

#: How many offsets of the log a reader reads at a time. Pages begin at multiples of it, so readers
#: of one partition read the same pages.
PAGE_OFFSETS = 2_000
_log = logs.get_logger("caller")


class StreamGone(WorkflowRuntimeError):
    """Raised when the log has lost events of a run that a reader has not read.

    What to do: Read the stream without `after`: it gives what the log still has. Lengthen the
    retention of the stream topic if readers come back later than that.
    """

    def __init__(self, run_id: str, reason: str) -> None:
        super().__init__(
            f"the stream of run {printable.line(run_id)} cannot be continued: {reason}; "
            "stream_events() without `after` gives what the log still has"
        )


class EventReader:
    """The events of a run's stream, in order; `.cursor` is the place of the last one."""

    def __init__(
        self, stream: "EventStream", after: Cursor | None, *, expose_internal: bool
    ) -> None:
        self._stream = stream
        self._after = after
        self._expose_internal = expose_internal
        self._shown = Shown()
        #: Where the run's stream begins, and the next offset to look at; None before it is known.
        self._begin: int | None = None
        self._next = 0
        self._records: deque[Delivered] = deque()
        self._due: deque[tuple[Cursor, Event]] = deque()
        self._is_over = False
        #: Of the event that was given last.
        self._at = after

    @property
    def cursor(self) -> str | None:
        """The place of the event that it gave last, for `stream_events(after=...)`.

        A text of less than 70 characters. Before the first event it is *after*, else None.
        """
        return self._at and self._at.text(self._stream.topic, self._stream.run_id)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while True:
            if self._due:
                self._at, event = self._due.popleft()
                return event
            if self._records:
                self._take(self._records.popleft())
            elif self._is_over:
                raise StopAsyncIteration
            else:
                await self._look()

    async def _look(self) -> None:
        """Get more records, or wait for some."""
        stream = self._stream
        if self._begin is None:
            await self._find_place()
        elif self._next < stream.kept_from:
            await self._read_page()
        elif found := stream.records_from(self._next):
            self._records.extend(found)
            self._next = found[-1].offset + 1
        elif stream.is_over:
            self._finish(self._begin)
        else:
            await stream.changed()

    async def _find_place(self) -> None:
        stream, after = self._stream, self._after
        if not stream.is_placed:
            if stream.is_over:
                # The wait for the run ended before its place was known.
                self._finish(0)
            else:
                await stream.changed()
            return
        begin = await stream.beginning() if after is None else after.begin
        self._begin = self._next = begin

    async def _read_page(self) -> None:
        """Read what the log has, up to the next page or to what is in memory."""
        first, stream = self._next, self._stream
        end = min(stream.kept_from, (first // PAGE_OFFSETS + 1) * PAGE_OFFSETS)
        page: Page = await stream.log.read_stream(stream.run_id, first, end)
        if page.begin > first:
            self._check_lost(page.begin)
            self._shown.miss_some()
        self._records.extend(page.records)
        self._next = max(end, min(page.begin, stream.kept_from))

    def _check_lost(self, begin: int) -> None:
        """Raise StreamGone if the log, which begins at *begin*, lacks what is to be shown."""
        # Who has seen nothing begins where the log does.
        if self._at is not None and begin > self._at.offset + self._at.part:
            raise StreamGone(
                self._stream.run_id, "its retention removed what the run showed behind the cursor"
            )

    def _take(self, record: Delivered) -> None:
        try:
            envelope = envelopes.parse(record.headers)
        except BrokenEnvelope:
            # Another producer's.
            return
        void = self._shown.take(envelope)
        if void is None:
            return
        if void:
            self._restart(record, envelope, void)
        if self._is_due(record, envelope, EVENT):
            self._show(record, envelope)

    def _restart(self, record: Delivered, envelope: Envelope, void: int) -> None:
        if self._expose_internal and self._is_due(record, envelope, RESTART):
            event = StreamRestarted(
                step_name=envelope.step, event_id=envelope.parent_id, void_events=void
            )
            self._due.append((self._cursor_at(record.offset, RESTART), event))

    def _show(self, record: Delivered, envelope: Envelope) -> None:
        run_id = self._stream.run_id
        try:
            event = self._stream.decode(envelope.type, record.value or b"")
        except UndecodableEvent as failure:
            _log.warning("stream_record_skipped", run_id=run_id, reason=str(failure))
            return
        except FOREIGN as failure:
            raise WorkflowRuntimeError(
                f"offset {record.offset} of {record.topic} cannot be read ({told(failure)})"
            ) from None
        if self._expose_internal or not isinstance(event, InternalDispatchEvent):
            self._due.append((self._cursor_at(record.offset, EVENT), event))

    def _finish(self, begin: int) -> None:
        stream, after = self._stream, self._after
        if after is not None and stream.is_placed and after.offset >= stream.end_offset:
            raise StreamGone(stream.run_id, "the topic ends before the cursor: it was replaced")
        self._is_over = True
        at = self._at or Cursor(begin, begin - 1)
        if stream.last_event is not None and stream.ended_epoch > at.ended:
            cursor = at._replace(part=EVENT, ended=stream.ended_epoch)
            self._due.append((cursor, stream.last_event))

    def _is_due(self, record: Delivered, envelope: Envelope, part: int) -> bool:
        """Tell whether a record is behind the cursor, and not of a run that it saw end."""
        after = self._after
        if after is None:
            return True
        # A step may show something before it hears of the end.
        return (record.offset, part) > after.place and envelope.epoch > after.ended

    def _cursor_at(self, offset: int, part: int) -> Cursor:
        ended = NOT_ENDED if self._at is None else self._at.ended
        return Cursor(self._begin or 0, offset, part, ended)
