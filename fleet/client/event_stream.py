"""
What a run shows, for any number of readers: each reader sees it from its beginning.

The events live as long as the handler, so a late reader misses nothing. Of a very long stream only
the newest stay once they were read. A reader that comes after that gets an error at once.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Self
from weakref import WeakSet

from fleet.records import printable
from fleet.records.events import Event, InternalDispatchEvent
from fleet.workflow.errors import WorkflowRuntimeError

#: How many events stay for later readers after they were read, at least.
KEPT_EVENTS = 10_000
#: How many are dropped at a time.
_CHUNK = 1_000


class StreamGone(WorkflowRuntimeError):
    """Raised when a reader comes after the beginning of a very long stream was dropped.

    What to do: Call every `stream_events()` before the first one is read that far.
    """

    def __init__(self, run_id: str, gone: int) -> None:
        super().__init__(
            f"the first {gone:,} events of run {printable.line(run_id)} were read and dropped (the "
            f"newest {KEPT_EVENTS:,} stay); call every stream_events() before one of them has read "
            "that far"
        )


class EventStream:
    """The events of one run, in order, and its readers."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._kept: list[Event] = []
        #: How many were dropped.
        self._gone = 0
        self._is_over = False
        #: Weakly: a reader that stops in the middle of a stream keeps no events.
        self._readers: WeakSet[_Reader] = WeakSet()
        #: Replaced at each change; setting the old one wakes its readers.
        self._changed: asyncio.Event | None = None

    @property
    def has_readers(self) -> bool:
        """Whether it has readers."""
        return bool(self._readers)

    def read(self, *, expose_internal: bool = False) -> AsyncIterator[Event]:
        """Return a reader that sees every event; raise StreamGone if some were dropped."""
        if self._gone:
            raise StreamGone(self._run_id, self._gone)
        reader = _Reader(self, expose_internal=expose_internal)
        self._readers.add(reader)
        return reader

    def add(self, event: Event) -> None:
        """Add the next event."""
        self._kept.append(event)
        if len(self._kept) >= KEPT_EVENTS + _CHUNK:
            self._shorten()
        self._wake()

    def end(self) -> None:
        """Hear that nothing follows."""
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
        """Drop the oldest events, if every reader has read them."""
        if all(reader.read > self._gone + _CHUNK for reader in self._readers) and self._readers:
            del self._kept[:_CHUNK]
            self._gone += _CHUNK

    def _wake(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()


class _Reader:
    """One `async for` over the stream."""

    def __init__(self, stream: EventStream, *, expose_internal: bool) -> None:
        self._stream = stream
        self._expose_internal = expose_internal
        #: How many events it has read.
        self.read = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while True:
            event = await self._stream.at(self.read)
            self.read += 1
            if self._expose_internal or not isinstance(event, InternalDispatchEvent):
                return event
