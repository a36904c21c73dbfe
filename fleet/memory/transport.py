"""A caller's way to the in-process log."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from fleet.memory.backend import MemoryBroker
from fleet.records.log import Delivered, Outgoing, Page
from fleet.records.run_entries import RunEntries
from fleet.records.topics import Topics
from fleet.workflow.graph import Graph


class Worker(Protocol):
    """The task that runs the steps."""

    def run_entries(self, run_id: str) -> Iterable[tuple[bytes, bytes]]:
        """Yield what is committed of a run."""
        ...

    def running_steps(self, run_id: str) -> Iterable[str]:
        """Return the names of a run's steps that run now."""
        ...


class MemoryTransport:
    """See `fleet.client.transport.Transport`."""

    #: The worker is this process.
    workers = None

    def __init__(self, broker: MemoryBroker, topics: Topics) -> None:
        self._broker = broker
        self._topics = topics
        self._worker: Worker

    def start(self, take: Callable[[Delivered], None], worker: Worker) -> None:
        """Hand every record of `runs` and `stream` to *take*; *worker* knows the rest."""
        self._worker = worker
        self._broker.subscribe(self._topics.runs, take)
        self._broker.subscribe(self._topics.stream, take)

    async def follow(self, run_id: str) -> None:
        """Do nothing: every record is seen."""

    def followed_from(self, run_id: str) -> int:
        """Return 0: everything was read."""
        return 0

    async def send(self, record: Outgoing, *, repeatable: bool) -> None:
        """Append one record."""
        self._broker.append(record)

    async def look_back(self, run_id: str, offset: int) -> list[Delivered]:
        """Return the run's records of `runs` from *offset* that are kept."""
        return self._broker.kept(self._topics.runs).of(run_id.encode(), lambda at: at >= offset)

    def stream_position(self, run_id: str) -> int:
        """Return the offset of `stream` from which records are handed on."""
        return self._broker.end(self._topics.stream)

    async def stream_since(self, run_id: str, since_ms: int) -> int:
        """Return the offset of the first record of the run that is kept."""
        first = self._broker.kept(self._topics.stream).first(run_id.encode())
        return self._broker.end(self._topics.stream) if first is None else first

    async def read_stream(self, run_id: str, first: int, end: int) -> Page:
        """Return the run's records of `stream` that are kept, from *first* up to *end*."""
        kept, key = self._broker.kept(self._topics.stream), run_id.encode()
        # Of a run that was forgotten all is gone.
        begin = end if kept.first(key) is None else kept.begin
        return Page(kept.of(key, lambda at: first <= at < end), begin)

    async def read_run(self, run_id: str) -> RunEntries:
        """Return what is committed of a run in the task's state."""
        return RunEntries(run_id).take_all(self._worker.run_entries(run_id))

    async def running_steps(self, run_id: str, graph: Graph) -> list[str]:
        """Return the names of a run's steps that run now."""
        return sorted(self._worker.running_steps(run_id))

    def when_stream_read(self, run_id: str, done: Callable[[], None], *, soon: bool) -> None:
        """Call *done* in a later turn of the loop: what was appended before arrives first."""
        asyncio.get_running_loop().call_soon(done)

    def unfollow(self, run_id: str) -> None:
        """Do nothing."""
