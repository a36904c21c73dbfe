"""The engine's ports on a broker and local disks."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from aiokafka import errors
from aiokafka.errors import KafkaError

from fleet.config.settings import Settings
from fleet.engine.ports import LocalStore
from fleet.kafka import folders, membership, provision, rocks
from fleet.kafka.children import Carries, WorkflowsOnKafka
from fleet.kafka.clients import Clients
from fleet.kafka.loading import KafkaLoader
from fleet.kafka.rocks import RocksStore
from fleet.kafka.stream import KafkaStream
from fleet.kafka.transactional_log import KafkaLog
from fleet.records.topics import Topics
from fleet.workflow.graph import Graph

#: What does not pass by itself: the broker knows what we want and refuses it.
_REFUSALS = (
    errors.AuthenticationFailedError,
    errors.AuthenticationMethodNotSupported,
    errors.ClusterAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.IllegalSaslStateError,
    errors.InvalidTransactionTimeout,
    errors.KafkaConfigurationError,
    errors.SaslAuthenticationFailed,
    errors.TopicAuthorizationFailedError,
    errors.TransactionalIdAuthorizationFailed,
    errors.UnsupportedCodecError,
    errors.UnsupportedSaslMechanismError,
    errors.UnsupportedVersionError,
)


class KafkaBackend:
    """Kafka, RocksDB below a folder that no other process uses, the system's clock.

    See `fleet.engine.ports.Backend`.
    """

    failures = (KafkaError,)
    refusals = _REFUSALS

    def __init__(
        self, settings: Settings, topics: Topics, graph: Graph, carries: Carries | None = None
    ) -> None:
        self.clients = Clients(settings)
        self._settings = settings
        self._topics = topics
        self._graph = graph
        self._carries = carries
        self._locked: folders.LockedFolder | None = None

    async def open(self, folder: Path) -> int:
        """Check the topics and lock a folder below *folder*; raises what `provision.ensure` does.

        Return the partition count.
        """
        self._locked = folders.lock(folder / self._topics.engine_id)
        return await provision.ensure(self._topics, self._graph, self._settings)

    def log(self, name: str, partition: int) -> KafkaLog:
        """Return the log of the task *name*: its name is its transactional id."""
        return KafkaLog(self.clients, name, partition, self._topics.state)

    def loader(self, partition: int) -> KafkaLoader:
        """Return a reader in no consumer group."""
        return KafkaLoader(self.clients, partition)

    def stream(self) -> KafkaStream:
        """Return a stream with a producer of its own."""
        return KafkaStream(self.clients, self._topics)

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

    def workflows(self) -> WorkflowsOnKafka:
        """Return those with topics under the same prefix."""
        return WorkflowsOnKafka(self._settings, self._topics.prefix, self._carries)

    def monotonic(self) -> float:
        """Return the system's clock since it started."""
        return time.monotonic()

    def _folder(self, partition: int) -> Path:
        assert self._locked is not None, "opened before partitions are assigned"
        return self._locked.path / str(partition)

    def close(self) -> None:
        """Release the folder."""
        if self._locked is not None:
            self._locked.release()
