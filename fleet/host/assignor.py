"""
Faust's assignor, for workflows of several versions and for members that return under their name.

The topics of a workflow are assigned alike, see `workflow_assignment`.

A static member that returns gets its old assignment, without a rebalance. That assignment was made
for its predecessor: perhaps a process with another web port, and of a version that read fewer
topics. Faust's assignor fails on the port, and does not notice the topics.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, cast

from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)
from faust.assignor.client_assignment import ClientAssignment, ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor
from yarl import URL

from fleet.host import workflow_assignment
from fleet.host.hooks import hook


class Assignor(PartitionAssignor):
    """Faust's assignor, which keeps workflows whole and accepts a predecessor's assignment."""

    _predecessor: URL | None = None

    @property
    def _url(self) -> URL:
        return self._predecessor or super()._url

    @hook
    def _perform_assignment(self, cluster: Any, member_metadata: Any) -> Any:
        """Assign partitions to members; all topics of a workflow alike."""
        subscriptions = {name: told.subscription for name, told in member_metadata.items()}
        topics = {topic for subscribed in subscriptions.values() for topic in subscribed}
        runs = workflow_assignment.runs_topics(topics)
        shown = {name: _shown(told, runs) for name, told in member_metadata.items()}
        assigned = super()._perform_assignment(cluster, shown)
        return {
            name: self._narrowed(made, subscriptions, name, runs) for name, made in assigned.items()
        }

    def _narrowed(
        self,
        assigned: ConsumerProtocolMemberAssignment,
        subscriptions: Mapping[str, list[str]],
        name: str,
        runs: Mapping[str, str],
    ) -> ConsumerProtocolMemberAssignment:
        if all(runs.keys() <= set(subscribed) for subscribed in subscriptions.values()):
            return assigned
        found = cast("ClientMetadata", ClientMetadata.loads(self._decompress(assigned.user_data)))
        found.assignment = _narrow(found.assignment, subscriptions[name], runs)
        for member, url in self._member_urls.items():
            held = found.external_topic_distribution.get(url, {})
            found.external_topic_distribution[url] = workflow_assignment.narrowed(
                held, subscriptions[member], runs
            )
        partitions = sorted(found.assignment.kafka_protocol_assignment(self._table_manager))
        return ConsumerProtocolMemberAssignment(
            assigned.version, partitions, self._compress(found.dumps())
        )

    @hook
    def on_assignment(self, assignment: Any) -> None:  # type: ignore[override]  # as Faust's
        """Take an assignment that was made for any process of this name."""
        made_for = ClientMetadata.loads(self._decompress(assignment.user_data))
        self._predecessor = URL(cast("ClientMetadata", made_for).url)
        try:
            super().on_assignment(assignment)
        finally:
            self._predecessor = None

    def lacks(self, topics: AbstractSet[str]) -> bool:
        """Tell whether the group's partitions were assigned without some of *topics*.

        Or for a predecessor that read others.
        """
        held = self._assignment.actives
        if not topics <= self._topic_groups.keys() or not held.keys() <= topics:
            return True
        return workflow_assignment.is_split(held, topics)


def _shown(
    member: ConsumerProtocolMemberMetadata, runs: Mapping[str, str]
) -> ConsumerProtocolMemberMetadata:
    """Return a member's metadata as Faust's assignor is to see it."""
    client = cast("ClientMetadata", ClientMetadata.loads(member.user_data))
    held = client.assignment
    client.assignment = ClientAssignment(
        actives=workflow_assignment.alike(held.actives, runs),
        standbys=workflow_assignment.alike(held.standbys, runs),
    )
    subscription = workflow_assignment.widened(member.subscription, runs)
    return ConsumerProtocolMemberMetadata(member.version, subscription, client.dumps())


def _narrow(
    assignment: ClientAssignment, subscription: list[str], runs: Mapping[str, str]
) -> ClientAssignment:
    return ClientAssignment(
        actives=workflow_assignment.narrowed(assignment.actives, subscription, runs),
        standbys=workflow_assignment.narrowed(assignment.standbys, subscription, runs),
    )
