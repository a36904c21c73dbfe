"""A caller's way to the in-process log."""

import asyncio
from collections.abc import Callable

from fleet.memory.backend import MemoryBroker
from fleet.records.log import Delivered, Outgoing
from fleet.records.topics import Topics


class MemoryTransport:
    """See `fleet.client.transport.Transport`."""

    #: The worker is this process.
    workers = None

    def __init__(self, broker: MemoryBroker, topics: Topics) -> None:
        self._broker = broker
        self._topics = topics

    def start(self, take: Callable[[Delivered], None]) -> None:
        """Hand every record of `runs` and `stream` to *take*."""
        self._broker.subscribe(self._topics.runs, take, keep=True)
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
        return self._broker.kept(self._topics.runs, run_id.encode(), offset)

    def when_stream_read(self, run_id: str, done: Callable[[], None], *, soon: bool) -> None:
        """Call *done* in a later turn of the loop: what was appended before arrives first."""
        asyncio.get_running_loop().call_soon(done)

    def unfollow(self, run_id: str) -> None:
        """Do nothing."""
