"""
Reads earlier parts of `runs` or `stream` again, as a caller asks for them.

It has a consumer of its own, for as long as there are parts to read: the one that follows open runs
keeps its place. Parts that lie near each other are read as one.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from aiokafka import TopicPartition

from fleet.config import logs
from fleet.kafka.clients import Clients
from fleet.kafka.topic_reader import TopicReader
from fleet.records.log import Delivered, Page
from fleet.workflow.errors import WorkflowRuntimeError

_log = logs.get_logger("caller")
_FETCH_WAIT_MS = 20
#: Between two attempts, in seconds.
RETRY_SECONDS = 0.2
#: Parts with fewer offsets between them are read as one: a seek costs a request.
_NEAR = 500
#: After how long without progress another consumer is tried, in seconds.
_STALLED_SECONDS = 20.0
#: How long it stays connected after a page: its reader may want the next one, in seconds.
_LINGER_SECONDS = 1.0


@dataclass(eq=False, slots=True)
class _Part:
    """A caller wants a run's records of a part."""

    partition: int
    key: bytes
    #: The first offset, and the one after the last.
    first: int
    end: int
    answer: "asyncio.Future[Page]"
    #: It has to be known whether the log had lost some of it.
    is_page: bool
    found: list[Delivered] = field(default_factory=list)

    def take(self, record: Delivered) -> None:
        if self.first <= record.offset < self.end:
            self.found.append(record)


class LookBack:
    """Reads parts of one topic."""

    def __init__(self, clients: Clients, topic: str) -> None:
        self._clients = clients
        self._topic = topic
        #: As a set that keeps its order.
        self._wanted: dict[_Part, None] = {}
        self._reading: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()
        self._is_stopped = False

    async def read(self, partition: int, key: bytes, first: int, end: int) -> list[Delivered]:
        """Return the records of *key* from offset *first* up to *end*, without *end*.

        Records that the log no longer has are missing. Tries until it is cancelled.
        """
        if first >= end:
            return []
        return (await self._part(partition, key, first, end, is_page=False)).records

    async def page(self, partition: int, key: bytes, first: int, end: int) -> Page:
        """Return the same, and where the log began afterwards: at or before *first*, none is lost.

        Raises WorkflowRuntimeError if it was stopped.
        """
        return await self._part(partition, key, first, end, is_page=True)

    async def _part(
        self, partition: int, key: bytes, first: int, end: int, *, is_page: bool
    ) -> Page:
        loop = asyncio.get_running_loop()
        if self._is_stopped:
            raise _stopped()
        part = _Part(partition, key, first, end, loop.create_future(), is_page)
        self._wanted[part] = None
        self._asked.set()
        if self._reading is None or self._reading.done():
            self._reading = loop.create_task(self._read_all(), name="fleet look back")
        return await part.answer

    async def stop(self) -> None:
        """Read nothing any more, and say so to those that wait."""
        self._is_stopped = True
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        for part in self._wanted:
            if not part.answer.done():
                part.answer.set_exception(_stopped())

    async def _read_all(self) -> None:
        while self._wanted:
            try:
                await self._read_connected()
            except Exception as failure:  # noqa: BLE001 - every caller has a deadline
                _log.warning("look_back_again", topic=self._topic, error=repr(failure))
                await asyncio.sleep(RETRY_SECONDS)

    async def _read_connected(self) -> None:
        async with TopicReader(self._clients, fetch_max_wait_ms=_FETCH_WAIT_MS) as reader:
            while self._wanted:
                # Those whose caller has given up are cancelled.
                self._wanted = {part: None for part in self._wanted if not part.answer.done()}
                pages = any(part.is_page for part in self._wanted)
                for several in _together(self._wanted):
                    await self._read(reader, several)
                if pages:
                    await self._linger()

    async def _linger(self) -> None:
        self._asked.clear()
        if not self._wanted:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_SECONDS):
                    await self._asked.wait()

    async def _read(self, reader: TopicReader, several: list[_Part]) -> None:
        """Read one stretch and answer all that want something of it."""
        by_key = defaultdict[bytes, list[_Part]](list)
        for part in several:
            part.found.clear()
            by_key[part.key].append(part)
        tp = TopicPartition(self._topic, several[0].partition)
        span = several[0].first, max(part.end for part in several)
        async for batch in reader.read({tp: span}, stalled_seconds=_STALLED_SECONDS):
            for record in batch.delivered():
                for part in by_key.get(record.key or b"", ()):
                    part.take(record)
        begin = 0
        if any(part.is_page for part in several):
            begin = (await reader.begins([tp]))[tp]
        for part in several:
            del self._wanted[part]
            if not part.answer.done():
                part.answer.set_result(Page(part.found, begin))


def _stopped() -> WorkflowRuntimeError:
    return WorkflowRuntimeError(
        "the connection was closed; the log has the rest of the stream: connect again and pass the "
        "iterator's .cursor as stream_events(after=...)"
    )


def _together(parts: Iterable[_Part]) -> Iterator[list[_Part]]:
    """Yield the parts in groups of which each is one stretch of a partition."""
    group: list[_Part] = []
    end = 0
    for part in sorted(parts, key=lambda each: (each.partition, each.first)):
        if group and (part.partition != group[0].partition or part.first > end + _NEAR):
            yield group
            group, end = [], 0
        group.append(part)
        end = max(end, part.end)
    if group:
        yield group
