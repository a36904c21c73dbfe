"""A caller's way to Kafka from the process whose app carries the workflow."""

import asyncio
from collections.abc import Callable
from typing import Any

from fleet.api import app_life
from fleet.config.settings import Settings
from fleet.kafka import provision
from fleet.kafka.transport import KafkaTransport, Reader
from fleet.records.log import Delivered, Outgoing, Page
from fleet.records.run_entries import RunEntries
from fleet.records.topics import Topics
from fleet.workflow import definition
from fleet.workflow.definition import Definition
from fleet.workflow.graph import Graph


class EmbeddedTransport:
    """See `fleet.client.transport.Transport`; starts the app and connects at its first use."""

    #: The worker is this process, and started before anything is sent.
    workers = None

    def __init__(self, app: Any, topics: Topics, settings: Settings, workflow: Definition) -> None:
        self._app = app
        self._topics = topics
        self._settings = settings
        self._workflow = workflow
        self._reader: Reader
        self._transport: KafkaTransport | None = None
        self._connecting = asyncio.Lock()

    def read_for(self, reader: Reader) -> None:
        """Hand records to *reader*."""
        self._reader = reader

    async def follow(self, run_id: str) -> None:
        """Read the run's partition of `runs` and `stream` from here on; the first call connects."""
        await (await self._started()).follow(run_id)

    def followed_from(self, run_id: str) -> int:
        """Return the offset of `runs` since which its partition has been read without a gap."""
        return self._connected.followed_from(run_id)

    async def send(self, record: Outgoing, *, repeatable: bool) -> None:
        """Append one record."""
        # Also of a run whose start waits for its turn.
        await (await self._started()).send(record, repeatable=repeatable)

    async def look_back(self, run_id: str, offset: int) -> list[Delivered]:
        """Return the run's records of `runs` from *offset* up to what was taken by now."""
        return await self._connected.look_back(run_id, offset)

    def stream_position(self, run_id: str) -> int:
        """Return the offset of `stream` from which the run's records are handed on."""
        return self._connected.stream_position(run_id)

    async def stream_since(self, run_id: str, since_ms: int) -> int:
        """Return the first offset of the run's partition of `stream` since a time."""
        return await self._connected.stream_since(run_id, since_ms)

    async def read_stream(self, run_id: str, first: int, end: int) -> Page:
        """Return the run's records of `stream` from offset *first* up to *end*, without *end*."""
        return await self._connected.read_stream(run_id, first, end)

    async def read_run(self, run_id: str) -> RunEntries:
        """Return what is committed of a run in its group's state; raise ContextUnreadable."""
        return await (await self._started()).read_run(run_id)

    async def running_steps(self, run_id: str, graph: Graph) -> list[str]:
        """Return the names of a run's steps that run now or wait to; raise ContextUnreadable."""
        return await (await self._started()).running_steps(run_id, graph)

    def when_stream_read(self, run_id: str, done: Callable[[], None], *, soon: bool) -> None:
        """Call *done* when the run's partition of `stream` was read to its end."""
        if self._transport is not None:
            self._transport.when_stream_read(run_id, done, soon=soon)
        else:
            # The app did not start.
            asyncio.get_running_loop().call_soon(done)

    def unfollow(self, run_id: str) -> None:
        """Let the run go."""
        if self._transport is not None:
            self._transport.unfollow(run_id)

    @property
    def _connected(self) -> KafkaTransport:
        assert self._transport is not None, "a run is followed before anything else"
        return self._transport

    async def _started(self) -> KafkaTransport:
        async with self._connecting:
            if self._transport is None:
                self._transport = await self._connect()
        return self._transport

    async def _connect(self) -> KafkaTransport:
        graph = definition.graph(type(self._workflow))
        partitions = await provision.ensure(self._topics, graph, self._settings)
        await app_life.start(self._app)
        transport = KafkaTransport(self._settings, self._topics, partitions)
        await transport.start(self._reader)
        await app_life.end_with_the_loop(transport.stop)
        return transport
