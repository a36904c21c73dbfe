"""Faust's assignor with workflows of several versions in one group."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from faust.assignor.partition_assignor import PartitionAssignor
from faust.types import TP
from yarl import URL

from fleet.host import workflow_assignment
from fleet.host.assignor import Assignor

OLD = {"p.flow.runs", "p.flow.inbox", "p.flow.StartEvent"}
NEW = OLD | {"p.flow.Added"}


class Sensors:
    """Hears nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class Cluster:
    """As many partitions of each topic."""

    def __init__(self, counts: dict[str, int] | int = 6) -> None:
        self._counts = counts

    def partitions_for_topic(self, topic: str) -> set[int]:
        counts = self._counts
        return set(range(counts if isinstance(counts, int) else counts.get(topic, 6)))


class Member:
    """A process, with what its assignor remembers."""

    def __init__(
        self, name: str, topics: set[str], assignor: type[PartitionAssignor] = Assignor
    ) -> None:
        self.name, self.topics = name, topics
        app: Any = SimpleNamespace(
            tables=SimpleNamespace(data={}, changelog_topics=set[str]()),
            conf=SimpleNamespace(canonical_url=URL(f"http://{name}:1")),
            tracer=None,
            sensors=Sensors(),
        )
        self.assignor: Any = assignor(app)

    @property
    def metadata(self) -> ConsumerProtocolMemberMetadata:
        return self.assignor.metadata(self.topics)  # type: ignore[no-any-return]


def rebalanced(*members: Member, cluster: Any = None) -> dict[str, set[TP]]:
    """Let the first of *members* assign; return what each of them is given."""
    asked = {member.name: member.metadata for member in members}
    assigned = members[0].assignor.assign(cluster or Cluster(), asked)
    found = {}
    for member in members:
        mine = assigned[member.name]
        member.assignor.on_assignment(mine)
        found[member.name] = {TP(*tp) for tp in mine.partitions()}
        assert {tp.topic for tp in found[member.name]} <= member.topics
    return found


def of(topic: str, assigned: set[TP]) -> set[int]:
    return {tp.partition for tp in assigned if tp.topic == topic}


@pytest.mark.parametrize("leader", ["old", "new"])
@pytest.mark.parametrize("change", ["added", "removed"])
def test_a_workflows_topics_go_with_its_runs_in_every_version(leader: str, change: str) -> None:
    """One member of the old version and two of the new: nobody reads a topic apart from `runs`."""
    before, after = (OLD, NEW) if change == "added" else (NEW, OLD)
    old, new, other = Member("old", before), Member("new", after), Member("other", after)
    rebalanced(old)
    first = (old, new, other) if leader == "old" else (new, old, other)

    for _ in range(3):
        found = rebalanced(*first)

        for member in first:
            runs = of("p.flow.runs", found[member.name])
            assert len(runs) == 2
            for topic in member.topics:
                assert of(topic, found[member.name]) == runs
    lonely = rebalanced(new, other)
    assert sorted(p for each in lonely.values() for p in of("p.flow.runs", each)) == [*range(6)]


def test_without_it_a_topic_of_some_members_has_other_owners() -> None:
    """Faust's own assignor: what the deploys with two owners of a partition came from."""
    old = Member("old", OLD, PartitionAssignor)
    new = Member("new", NEW, PartitionAssignor)
    other = Member("other", NEW, PartitionAssignor)

    found = rebalanced(old, new, other)

    assert of("p.flow.Added", found["new"]) != of("p.flow.runs", found["new"])


def test_members_keep_their_partitions_while_a_deployment_goes_on() -> None:
    """Also after a leader of the version before has taken a workflow's topics apart."""
    old = Member("old", OLD, PartitionAssignor)
    new, other = Member("new", NEW), Member("other", NEW)
    apart = rebalanced(old, new, other)
    assert of("p.flow.Added", apart["new"]) != of("p.flow.runs", apart["new"])
    assert new.assignor.lacks(NEW)

    found = rebalanced(new, old, other)

    assert not new.assignor.lacks(NEW)
    for member in (old, new, other):
        assert of("p.flow.runs", found[member.name]) == of("p.flow.runs", apart[member.name])


def test_a_predecessors_assignment_without_a_topic_is_noticed() -> None:
    """A static member is given what its predecessor had, though others read the topic already."""
    old, new = Member("old", OLD), Member("new", NEW)
    asked = {member.name: member.metadata for member in (old, new)}
    assigned = new.assignor.assign(Cluster(), asked)
    successor = Member("old", NEW)

    successor.assignor.on_assignment(assigned["old"])

    assert successor.assignor.lacks(NEW)
    assert not successor.assignor.lacks(OLD)


def test_native_topics_and_other_workflows_keep_fausts_assignment() -> None:
    """An agent's topic, also one that only some read, and a second workflow on the same app."""
    native, second = "orders", {"p.other.runs", "p.other.inbox", "p.other.StartEvent"}
    one = Member("one", OLD | {native})
    two = Member("two", NEW | second | {native, "new.orders"})
    three = Member("three", NEW | second | {native, "new.orders"})

    found = rebalanced(one, two, three, cluster=Cluster({native: 3, "new.orders": 4}))

    for topic, count in ((native, 3), ("new.orders", 4), ("p.flow.runs", 6), ("p.other.runs", 6)):
        held = [p for each in found.values() for p in of(topic, each)]
        assert sorted(held) == [*range(count)]
    for member in (two, three):
        mine = found[member.name]
        assert of("p.other.runs", mine) == of("p.other.StartEvent", mine)
        assert of("p.flow.runs", mine) == of("p.flow.Added", mine)


def test_an_agents_topic_stays_with_the_workflows_that_it_is_read_with() -> None:
    """Where all members read the same, a native topic has the partitions of the workflow."""
    topics = NEW | {"orders"}
    one, two = Member("one", topics), Member("two", topics)

    found = rebalanced(one, two)

    for member in (one, two):
        mine = found[member.name]
        assert of("orders", mine) == of("p.flow.runs", mine) == of("p.flow.Added", mine)


def test_the_router_knows_who_reads_a_topic() -> None:
    """What a member does not read is not said to be with it."""
    old, new = Member("old", OLD), Member("new", NEW)

    rebalanced(new, old)

    assert "p.flow.Added" not in new.assignor.external_topic_distribution["http://old:1"]
    assert "p.flow.Added" in old.assignor.external_topic_distribution["http://new:1"]


def test_topics_that_only_look_alike_are_no_workflows() -> None:
    """A workflow is known by `runs` and `inbox`; an event's topic has no further dots."""
    topics = {"a.runs", "b.runs", "b.inbox", "b.Event", "b.c.Event", "runs", "inbox", "orders"}

    assert workflow_assignment.runs_topics(topics) == {
        "b.runs": "b.runs",
        "b.inbox": "b.runs",
        "b.Event": "b.runs",
    }
