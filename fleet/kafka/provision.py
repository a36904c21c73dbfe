"""
The topics of a workflow: which it needs, which exist, and creating those that are missing.

All topics of a workflow have the same partition count, so that a run's records meet in one worker.
A worker checks before it subscribes, because Kafka says nothing about a missing topic.

The audit topic belongs to a prefix, not to a workflow: it has one partition, and no worker needs
it.
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, NoError, TopicAlreadyExistsError, for_code
from tenacity import AsyncRetrying, stop_after_delay, wait_fixed

from fleet.config import logs
from fleet.config.settings import Settings
from fleet.kafka.clients import BrokerUnreachable, Clients, client_arguments, stop_reader
from fleet.kafka.topic_settings import COMPACTED, FIXED, LEAST_TOMBSTONE_MS, kept
from fleet.records.errors import ExitCode, FleetError
from fleet.records.topics import Topics
from fleet.records.topics import audit as audit_name

if TYPE_CHECKING:
    from fleet.workflow.graph import Graph

_log = logs.get_logger("provision")

#: Each topic must take a batch of this size, in bytes: the largest record that a step may send,
#: with its envelope. A record that the broker refuses would hold up its partition for ever.
LEAST_BATCH_BYTES = 1024 * 1024
#: How long to wait for the leaders of new partitions, in seconds.
_LED_SECONDS = 10.0
#: Topics, partitions and settings of one request that creates topics.
_REQUEST_RECORDS = 5_000


class TopicsMissing(FleetError):
    """Raised when topics of a workflow are not on the broker.

    What to do: Create them with `fleet topics apply WORKFLOW`.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, names: Iterable[str], workflow: str) -> None:
        super().__init__(
            f"the broker has no {', '.join(sorted(names))}; "
            f"create the topics of {workflow} with `fleet topics apply`"
        )


class AuditMissing(FleetError):
    """Raised when the audit topic, in which a command leaves a record, does not exist.

    What to do: Create the topic with `fleet topics apply WORKFLOW`, then repeat the command.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(
            f"the broker has no {name}, in which a command that changes something leaves a record, "
            f"so nothing was changed; `fleet topics apply WORKFLOW` creates it at {settings.broker}"
        )


class TopicNotCreated(FleetError):
    """Raised when the broker refuses to create a topic.

    What to do: Check the permissions of this client, and `FLEET_REPLICATION` against the number of
    brokers.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"the broker did not create {name}: {reason}; check the permissions of this client and "
            "FLEET_REPLICATION"
        )


class TopicsMismatched(FleetError):
    """Raised when topics of a workflow do not fit together.

    What to do: Change the topics as the message says: it has a command for each finding.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, findings: Iterable[str]) -> None:
        super().__init__("; ".join(findings))


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it must be."""

    name: str
    config: tuple[tuple[str, str], ...]
    #: None: as many as the other topics of the workflow.
    partitions: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A topic as it is."""

    name: str
    partitions: int
    config: dict[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """Which of a workflow's topics exist, and which are missing."""

    wanted: tuple[Topic, ...]
    found: dict[str, Found]
    #: Partition count of the existing topics, or of those to create.
    partitions: int

    @property
    def missing(self) -> list[Topic]:
        """The topics that do not exist."""
        return [topic for topic in self.wanted if topic.name not in self.found]

    @property
    def has_some(self) -> bool:
        """Whether topics exist whose partition count the missing ones must have."""
        return bool(_alike(self.wanted, self.found))


def wanted(topics: Topics, graph: "Graph", settings: Settings) -> tuple[Topic, ...]:
    """Return every topic of a step group with its configuration."""
    events = kept(str(settings.event_retention * 1000))
    return tuple(
        Topic(name, COMPACTED if name == topics.state else events)
        for name in topics.all(graph.accepting)
    )


def audit(prefix: str) -> Topic:
    """Return the audit topic of a prefix: kept for ever, in one order."""
    return Topic(audit_name(prefix), kept("-1"), partitions=1)


async def plan(
    topics: Topics, graph: "Graph", settings: Settings, *, with_audit: bool = False
) -> Plan:
    """Compare what a step group needs with what the broker has.

    *with_audit*: and what the command line needs. Raises BrokerUnreachable, and TopicsMismatched
    if existing topics do not fit together.
    """
    needed = wanted(topics, graph, settings)
    if with_audit:
        needed = (*needed, audit(topics.prefix))
    async with _Admin(settings) as admin:
        found = await admin.describe([topic.name for topic in needed])
    findings = list(_findings(needed, found))
    if findings:
        raise TopicsMismatched(findings)
    counts = {found[topic.name].partitions for topic in _alike(needed, found)}
    return Plan(needed, found, counts.pop() if counts else settings.partitions)


async def apply(made: Plan, settings: Settings) -> None:
    """Create the topics that a plan misses."""
    if not made.missing:
        return
    async with _Admin(settings) as admin:
        await admin.create(made.missing, made.partitions, settings.replication)
        await admin.wait_for([topic.name for topic in made.missing])
    await _wait_for_leaders(made, settings)


async def _wait_for_leaders(made: Plan, settings: Settings) -> None:
    """Return when the leader of each new partition answers for it.

    A leader knows a little later that it leads. Until then clients get refusals and write a warning
    for each partition.
    """
    tps = [
        TopicPartition(topic.name, partition)
        for topic in made.missing
        for partition in range(topic.partitions or made.partitions)
    ]
    reader = Clients(settings).reader()
    try:
        await reader.start()
        # The client asks again by itself if a leader does not know yet; it would for 40 s.
        async with asyncio.timeout(_LED_SECONDS):
            await reader.end_offsets(tps)
    except (KafkaError, OSError) as failure:
        # Later clients of the topics ask again, too.
        _log.warning("topics_not_led", error=repr(failure))
    finally:
        await stop_reader(reader)


async def ensure(topics: Topics, graph: "Graph", settings: Settings) -> int:
    """Return the partition count of a step group's topics, which exist afterwards.

    On a broker of this machine missing topics are created. On any other broker they raise
    TopicsMissing: its operators decide about partitions and replication.
    """
    made = await plan(topics, graph, settings)
    if made.missing and not settings.is_local:
        raise TopicsMissing((topic.name for topic in made.missing), topics.workflow)
    if made.missing:
        if made.has_some:
            # If one was deleted, a worker that knows it finds another id, and says what to do.
            _log.warning(
                "topics_created",
                topics=[topic.name for topic in made.missing],
                reason="other topics of the workflow are there: these are new, or were deleted",
            )
        await apply(made, settings)
        # Another process may have created some of them at the same time, with another count.
        made = await plan(topics, graph, settings)
    return made.partitions


async def partitions(name: str, settings: Settings) -> int:
    """Return how many partitions a topic has, 0 if it does not exist; raise BrokerUnreachable."""
    async with _Admin(settings) as admin:
        found = await admin.describe([name])
    return found[name].partitions if found else 0


async def ensure_audit(settings: Settings) -> None:
    """Return when the audit topic exists; on a broker of this machine it is created.

    Raises BrokerUnreachable, and AuditMissing on any other broker.
    """
    needed = audit(settings.prefix)
    async with _Admin(settings) as admin:
        if await admin.describe([needed.name]):
            return
        if not settings.is_local:
            raise AuditMissing(needed.name, settings)
        await admin.create([needed], 1, settings.replication)
        await admin.wait_for([needed.name])


def _alike(needed: Iterable[Topic], found: dict[str, Found]) -> list[Topic]:
    """Return the existing topics that must have the same number of partitions."""
    return [topic for topic in needed if topic.partitions is None and topic.name in found]


def _findings(needed: tuple[Topic, ...], found: dict[str, Found]) -> Iterator[str]:
    """Yield a sentence for each way in which existing topics do not fit: what, and what to do."""
    yield from _partitions_that_differ(needed, found)
    yield from _settings_that_differ(needed, found)
    yield from _too_small(needed, found)


def _partitions_that_differ(needed: tuple[Topic, ...], found: dict[str, Found]) -> Iterator[str]:
    counts: dict[int, list[str]] = {}
    for topic in _alike(needed, found):
        counts.setdefault(found[topic.name].partitions, []).append(topic.name)
    if len(counts) > 1:
        shown = "; ".join(
            f"{count}: {', '.join(sorted(names))}" for count, names in sorted(counts.items())
        )
        yield (
            f"all topics of a workflow must have the same number of partitions, and here they "
            f"differ ({shown}): use a new FLEET_PREFIX, or delete the topics that are wrong and "
            "empty and run `fleet topics apply`"
        )


def _settings_that_differ(needed: tuple[Topic, ...], found: dict[str, Found]) -> Iterator[str]:
    for setting, expected in FIXED:
        wrong = [
            topic.name
            for topic in needed
            if _is_wrong(topic, found.get(topic.name), setting, expected)
        ]
        if wrong:
            yield (
                f"{', '.join(wrong)} must have {setting}={expected}: set it with kafka-configs "
                f"--alter --add-config {setting}={expected}"
            )


def _too_small(needed: tuple[Topic, ...], found: dict[str, Found]) -> Iterator[str]:
    forgetful = [
        topic.name
        for topic in needed
        if ("cleanup.policy", "compact") in topic.config
        and topic.name in found
        and _tombstone_ms(found[topic.name]) < LEAST_TOMBSTONE_MS
    ]
    if forgetful:
        yield (
            f"{', '.join(forgetful)} must keep deleted keys for a day, or a worker with an old "
            "copy still has them: set it with kafka-configs --alter --add-config "
            f"delete.retention.ms={LEAST_TOMBSTONE_MS}"
        )
    small = [topic.name for topic in found.values() if _most_bytes(topic) < LEAST_BATCH_BYTES]
    if small:
        yield (
            f"{', '.join(sorted(small))} must take records of {LEAST_BATCH_BYTES:,} bytes: set it "
            f"with kafka-configs --alter --add-config max.message.bytes={LEAST_BATCH_BYTES}"
        )


def _is_wrong(topic: Topic, found: Found | None, setting: str, expected: str) -> bool:
    actual = found.config.get(setting) if found else None
    return (setting, expected) in topic.config and bool(actual) and actual != expected


def _tombstone_ms(topic: Found) -> int:
    return int(topic.config.get("delete.retention.ms") or LEAST_TOMBSTONE_MS)


def _most_bytes(topic: Found) -> int:
    return int(topic.config.get("max.message.bytes") or LEAST_BATCH_BYTES)


class _Admin:
    """Our few calls of the admin client."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def __aenter__(self) -> Self:
        self._client = AIOKafkaAdminClient(**_without_tls_none(client_arguments(self._settings)))
        try:
            await self._client.start()
        except (KafkaError, OSError) as failure:
            await self._client.close()
            raise BrokerUnreachable(self._settings, failure) from None
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def describe(self, names: list[str]) -> dict[str, Found]:
        """Return the topics of *names* that exist."""
        # All topics, not by name: asking for a missing one may create it.
        present = {
            topic["topic"]: len(topic["partitions"])
            for topic in await self._client.describe_topics()
            if topic["topic"] in names
        }
        configs = await self._configs(list(present))
        return {
            name: Found(name, partitions, configs.get(name, {}))
            for name, partitions in present.items()
        }

    async def create(self, topics: list[Topic], partitions: int, replication: int) -> None:
        """Create *topics*; another process may create one of them at the same time."""
        new = [
            NewTopic(
                topic.name,
                topic.partitions or partitions,
                replication,
                # The client takes the broker's default replication only with this argument.
                replica_assignments={} if replication == -1 else None,
                topic_configs=dict(topic.config),
            )
            for topic in topics
        ]
        for part in _requests(new):
            response: Any = await self._client.create_topics(part)
            for name, code, *message in response.topic_errors:
                if code not in (NoError.errno, TopicAlreadyExistsError.errno):
                    raise TopicNotCreated(name, message[0] if message else for_code(code).__name__)

    async def wait_for(self, names: list[str]) -> None:
        """Return when all of *names* can be used: a created topic is not there at once."""
        async for attempt in AsyncRetrying(
            wait=wait_fixed(0.05), stop=stop_after_delay(30), reraise=True
        ):
            with attempt:
                led = {
                    topic["topic"]
                    for topic in await self._client.describe_topics()
                    if all(part["leader"] >= 0 for part in topic["partitions"])
                }
                if not led.issuperset(names):
                    raise TopicNotCreated(min(set(names) - led), "it does not come up")

    async def _configs(self, names: list[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        found: dict[str, dict[str, str]] = {}
        responses: list[Any] = await self._client.describe_configs(resources)
        for response in responses:
            for _, _, _, name, entries in response.resources:
                found[name] = {entry[0]: entry[1] for entry in entries}
        return found


def _without_tls_none(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def _requests(topics: list[NewTopic]) -> Iterator[list[NewTopic]]:
    """Yield *topics* in as many requests as a broker takes.

    A controller writes a record for each topic, partition and setting, and refuses a request with
    more than 10,000 of them.
    """
    part: list[NewTopic] = []
    records = 0
    for topic in topics:
        own = 1 + topic.num_partitions + len(topic.topic_configs)
        if part and records + own > _REQUEST_RECORDS:
            yield part
            part, records = [], 0
        part.append(topic)
        records += own
    if part:
        yield part
