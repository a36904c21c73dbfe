"""
What an engine stands on: clients of a broker, local stores, a clock.

Everything that the engine does outside of its own memory goes through here, so a simulation can
take the place of Kafka, disk and time under the same engine.
"""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from fleet.config.settings import Settings
from fleet.kafka import folders, membership, provision, rocks
from fleet.kafka.clients import Clients
from fleet.kafka.loading import LocalStore
from fleet.kafka.rocks import RocksStore
from fleet.records.topics import Topics
from fleet.workflow.graph import Graph


class Backend(Protocol):
    """See `KafkaBackend`."""

    @property
    def clients(self) -> Clients:
        """Makes the clients of the broker."""
        ...

    async def open(self, folder: Path) -> int:
        """Get ready; return the partition count of the workflow's topics."""
        ...

    def store(self, partition: int) -> LocalStore:
        """Open the local state of a partition."""
        ...

    def discard(self, partition: int) -> None:
        """Remove the local state of a partition, which is closed; raises OSError."""
        ...

    async def group_offsets(
        self, group: str, topics: Iterable[str], partition: int
    ) -> Mapping[str, int]:
        """Return what a consumer group has committed of a partition number, where it has."""
        ...

    def monotonic(self) -> float:
        """Return a clock that never goes back and never stands still, in seconds."""
        ...

    def close(self) -> None:
        """Release what is held."""
        ...


class KafkaBackend:
    """Kafka, RocksDB below a folder that no other process uses, the system's clock."""

    def __init__(self, settings: Settings, topics: Topics, graph: Graph) -> None:
        self.clients = Clients(settings)
        self._settings = settings
        self._topics = topics
        self._graph = graph
        self._claim: folders.Claim | None = None

    async def open(self, folder: Path) -> int:
        """Check the topics and claim a folder below *folder*; raises what `provision.ensure` does.

        Return the partition count.
        """
        self._claim = folders.claim(folder / self._topics.engine_id)
        return await provision.ensure(self._topics, self._graph, self._settings)

    def store(self, partition: int) -> LocalStore:
        """Open the RocksDB of a partition; raises StateInUse, StoreFailed, OSError."""
        return RocksStore(self._folder(partition))

    def discard(self, partition: int) -> None:
        """Remove the RocksDB of a partition; raises OSError."""
        rocks.remove(self._folder(partition))

    async def group_offsets(
        self, group: str, topics: Iterable[str], partition: int
    ) -> Mapping[str, int]:
        """Ask the broker; raises KafkaError."""
        return await membership.offsets(self._settings, group, topics, partition)

    def monotonic(self) -> float:
        """Return the system's clock since it started."""
        return time.monotonic()

    def _folder(self, partition: int) -> Path:
        assert self._claim is not None, "opened before partitions are assigned"
        return self._claim.path / str(partition)

    def close(self) -> None:
        """Release the folder."""
        if self._claim is not None:
            self._claim.release()
