"""
Faust's own assignor as the processes of one simulated group have it.

Each process has an assignor that remembers what it was assigned. The leader's is shown what every
member reads, and decides for all, as aiokafka lets it.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)
from faust.assignor.partition_assignor import PartitionAssignor
from faust.types import TP
from yarl import URL

from fleet.host.assignor import Assignor


class _Sorted(set[str]):
    """Topics in the order of their names: a history replays in a process with other hashes."""

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(super().__iter__()))


class _InOrder:
    """Mixed into an assignor: it looks at topics in the order of their names."""

    @classmethod
    def _group_co_subscribed(cls, topics: Any, subscriptions: Any) -> list[set[str]]:
        named: Any = super()
        groups = named._group_co_subscribed(topics, subscriptions)
        return [_Sorted(each) for each in sorted(map(sorted, groups))]


class Ours(_InOrder, Assignor):
    """The assignor of this version of Fleet."""


class Fausts(_InOrder, PartitionAssignor):
    """Faust's, which workers of a version before had."""


class _Silent:
    """Hears nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class _Cluster:
    """What the leader knows of topics."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return set(range(self._partitions))


class Membership:
    """One process's assignor."""

    def __init__(self, name: str, topics: Iterable[str], *, fausts: bool) -> None:
        self.topics = frozenset(topics)
        app: Any = SimpleNamespace(
            tables=SimpleNamespace(data={}, changelog_topics=set[str]()),
            conf=SimpleNamespace(canonical_url=URL(f"http://{name}:1")),
            tracer=None,
            sensors=_Silent(),
        )
        self._assignor: PartitionAssignor = Fausts(app) if fausts else Ours(app)
        self._renewed = False

    @property
    def is_ours(self) -> bool:
        """Whether the process assigns as this version of Fleet does."""
        return isinstance(self._assignor, Assignor)

    def metadata(self) -> ConsumerProtocolMemberMetadata:
        """Return what the process tells the leader."""
        topics: Any = sorted(self.topics)
        found: Any = self._assignor.metadata(topics)
        return ConsumerProtocolMemberMetadata.decode(found.encode())

    def assign(
        self, partitions: int, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Decide for everybody, as the leader."""
        cluster: Any = _Cluster(partitions)
        found = self._assignor.assign(cluster, dict(members))
        return {
            name: ConsumerProtocolMemberAssignment.decode(each.encode())
            for name, each in found.items()
        }

    def take(self, assignment: ConsumerProtocolMemberAssignment) -> list[TP]:
        """Take what the leader has decided; what is not read is refused, as by aiokafka."""
        found = sorted(TP(*tp) for tp in assignment.partitions())
        assert all(tp.topic in self.topics for tp in found), "assigned what nobody asked for"
        taken: Any = assignment
        self._assignor.on_assignment(taken)
        return found

    def joins_again(self) -> bool:
        """Whether the process asks for another generation, which it does once."""
        assignor = self._assignor
        if self._renewed or not isinstance(assignor, Assignor) or not assignor.lacks(self.topics):
            return False
        self._renewed = True
        return True
