"""
What a run shows, for as many readers as there are: each sees it from its beginning.

The events are kept for as long as somebody holds the handler, so that a reader that comes later
misses nothing. Of a very long stream only the newest are kept once they were read; a reader that
comes after that hears at once what it cannot have.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Self
from weakref import WeakSet

from fleet.records import printable
from fleet.records.events import Event
from fleet.workflow.errors import WorkflowRuntimeError

#: How many events that somebody has read are kept for later readers, at least.
KEPT_EVENTS = 10_000
#: How many are let go of at a time.
_CHUNK = 1_000


class StreamGone(WorkflowRuntimeError):
    """Raised to a reader of a stream whose beginning is not kept any more."""

    def __init__(self, run_id: str, gone: int) -> None:
        super().__init__(
            f"the first {gone:,} events of run {printable.line(run_id)} "
            f"were read and are not kept any more (the "
            f"newest {KEPT_EVENTS:,} are); call every stream_events() before the first is read "
            "that far"
        )


class EventStream:
    """The events of one run, in order, and its readers."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._kept: list[Event] = []
        #: How many came before those that are kept.
        self._gone = 0
        self._is_over = False
        #: Weakly: a reader that was left in the middle of a stream holds nothing back.
        self._readers: WeakSet[_Reader] = WeakSet()
        #: Replaced at each change: whoever waits for the old one is woken.
        self._changed: asyncio.Event | None = None

    @property
    def has_readers(self) -> bool:
        """Whether somebody reads."""
        return bool(self._readers)

    def read(self) -> AsyncIterator[Event]:
        """Return a reader, which sees every event; raise StreamGone where it could not."""
        if self._gone:
            raise StreamGone(self._run_id, self._gone)
        reader = _Reader(self)
        self._readers.add(reader)
        return reader

    def add(self, event: Event) -> None:
        """Add the next event."""
        self._kept.append(event)
        if len(self._kept) >= KEPT_EVENTS + _CHUNK:
            self._shorten()
        self._wake()

    def end(self) -> None:
        """Say that nothing follows."""
        self._is_over = True
        self._wake()

    async def at(self, index: int) -> Event:
        """Return the event at *index*, counted from 0; raise StopAsyncIteration after the end."""
        while index >= self._gone + len(self._kept):
            if self._is_over:
                raise StopAsyncIteration
            self._changed = self._changed or asyncio.Event()
            await self._changed.wait()
        return self._kept[index - self._gone]

    def _shorten(self) -> None:
        """Let go of the oldest events, if every reader has read them."""
        if all(each.read > self._gone + _CHUNK for each in self._readers) and self._readers:
            del self._kept[:_CHUNK]
            self._gone += _CHUNK

    def _wake(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()


class _Reader:
    """One `async for` over the stream."""

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream
        #: How many events it has read.
        self.read = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = await self._stream.at(self.read)
        self.read += 1
        return event
