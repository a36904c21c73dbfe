"""
The step groups of a prefix, as the broker knows them without their code.

A group exists if its state topic exists, also if no worker has ever run. It reads the topics that
its workers have subscribed to. Without a worker it reads the topics that it has committed offsets
for, and those event topics of its workflow that no group is known to read.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import KafkaError, NoError, for_code
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_fixed

from fleet.records.topics import Topics

#: How long to ask a coordinator again that moves or starts, in seconds.
COORDINATOR_SECONDS = 5.0
_ASK_AGAIN_SECONDS = 0.1
_STATE = ".state"
#: Broker's word for a group that it does not know.
_UNKNOWN = "Dead"
#: Our word for it: no worker has ever run, or its offsets have expired.
ABSENT = "Absent"


@dataclass(frozen=True, slots=True)
class Membership:
    """A consumer group at one moment."""

    #: The broker's word: Stable, Empty, PreparingRebalance, CompletingRebalance; or Absent.
    state: str = ABSENT
    members: int = 0
    #: Topics that the members read; empty without members, and during a rebalance.
    subscribed: frozenset[str] = frozenset()
    #: Committed offsets.
    offsets: Mapping[TopicPartition, int] = field(default_factory=dict)
    #: The metadata that was committed with them.
    notes: Mapping[TopicPartition, str] = field(default_factory=dict)


class Groups:
    """Asks the broker for topics and groups."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._admin = AIOKafkaAdminClient(**arguments)

    async def start(self) -> None:
        """Connect; raises KafkaError."""
        await self._admin.start()

    async def close(self) -> None:
        """Disconnect."""
        await self._admin.close()

    async def topics(self) -> dict[str, int]:
        """Return every topic of the broker with its number of partitions."""
        found = await self._admin.describe_topics()
        return {topic["topic"]: len(topic["partitions"]) for topic in found}

    async def membership(self, group: str) -> Membership:
        """Return the state of *group*."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(_may_pass),
            wait=wait_fixed(_ASK_AGAIN_SECONDS),
            stop=stop_after_delay(COORDINATOR_SECONDS),
            reraise=True,
        ):
            with attempt:
                return await self._membership(group)
        raise AssertionError("the last attempt returns or raises")

    async def _membership(self, group: str) -> Membership:
        node = await self._admin.find_coordinator(group)
        # First the group: a coordinator that still loads says so here. Its answer about offsets
        # would be empty.
        responses: list[Any] = await self._admin.describe_consumer_groups([group], node)
        [(code, _, state, _, _, members, *_)] = responses[0].groups
        if code != NoError.errno:
            raise for_code(code)(f"the broker does not describe the group {group}")
        found = await self._admin.list_consumer_group_offsets(group, node)
        committed = {tp: offset for tp, offset in found.items() if offset.offset >= 0}
        return Membership(
            state=ABSENT if state == _UNKNOWN else state,
            members=len(members),
            # The last two fields of a member are metadata and assignment.
            subscribed=subscription(member[-2] for member in members),
            offsets={tp: offset.offset for tp, offset in committed.items()},
            notes={tp: offset.metadata for tp, offset in committed.items()},
        )


def _may_pass(failure: BaseException) -> bool:
    return isinstance(failure, KafkaError) and bool(failure.retriable)


def subscription(metadata: Iterable[bytes]) -> frozenset[str]:
    """Return the topics that members have subscribed to; *metadata* is empty in a rebalance."""
    return frozenset(
        topic
        for encoded in metadata
        if encoded
        for topic in ConsumerProtocolMemberMetadata.decode(encoded).subscription
    )


def names(topics: Iterable[str], prefix: str) -> list[Topics]:
    """Return the step groups under *prefix*, by their state topics, in order."""
    return [
        Topics(prefix, *parts)
        for topic in sorted(topics)
        if topic.startswith(f"{prefix}.") and topic.endswith(_STATE)
        # Names of workflows and groups have no dot: with more parts the prefix is another one.
        if len(parts := topic[len(prefix) + 1 : -len(_STATE)].split(".")) == len(("wf", "group"))
    ]


def inputs(
    groups: Sequence[tuple[Topics, Membership]], topics: AbstractSet[str]
) -> dict[str, list[str]]:
    """Return the topics that each group of one workflow reads, by engine id."""
    readable = {topic for names, _ in groups for topic in _readable(names, topics)}
    known = {names.engine_id: _known(names, found, readable) for names, found in groups}
    unclaimed = readable.difference(*known.values())
    return {
        names.engine_id: sorted(
            known[names.engine_id] | (frozenset() if found.subscribed else unclaimed)
        )
        for names, found in groups
    }


def _readable(names: Topics, topics: AbstractSet[str]) -> Iterable[str]:
    first = f"{names.prefix}.{names.workflow}."
    others = (names.history, names.stream)
    for topic in topics:
        # A topic with a dot behind the workflow's name is one of a group's own.
        own = topic.startswith(first) and "." not in topic[len(first) :]
        if own and topic not in others:
            yield topic


def _known(names: Topics, found: Membership, readable: AbstractSet[str]) -> frozenset[str]:
    if found.subscribed:
        return found.subscribed & readable
    committed = {tp.topic for tp in found.offsets}
    return frozenset((committed | {names.runs, names.inbox}) & readable)
