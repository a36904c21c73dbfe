"""
The topics of Faust's own agents and tables: there before anything waits for them.

Kafka says nothing about a topic that is missing: an agent would wait for ever, a table's recovery
too. On a broker of this machine what is missing is created, as for workflows; elsewhere somebody
decides about partitions and replication, and we say what is missing.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient

from fleet.config import logs
from fleet.config.settings import Settings
from fleet.kafka import provision
from fleet.kafka.clients import client_arguments
from fleet.kafka.provision import Plan, Topic
from fleet.records.errors import FleetError

_log = logs.get_logger("agent_topics")


class AgentTopicsMissing(FleetError):
    """Raised when topics of agents or tables are not on a broker elsewhere.

    What to do: Create the topics with the command that the message shows.
    """

    def __init__(self, wanted: Mapping[str, "AgentTopic"]) -> None:
        shown = "; ".join(each.command(name) for name, each in sorted(wanted.items()))
        super().__init__(
            f"the broker has no {', '.join(sorted(wanted))}, which agents or tables of this app "
            f"use: {shown}. On a broker of this machine they would have been created"
        )


class AgentTopic:
    """How a topic of Faust's is to be created."""

    def __init__(self, app: Any, channel: Any = None) -> None:
        self.partitions: int = getattr(channel, "partitions", None) or app.conf.topic_partitions
        self.config: dict[str, str] = {}
        if getattr(channel, "compacting", None):
            self.config["cleanup.policy"] = "compact"
        if getattr(channel, "retention", None):
            self.config["retention.ms"] = str(int(float(channel.retention) * 1000))
        self.config |= {name: str(value) for name, value in getattr(channel, "config", {}).items()}

    def command(self, name: str) -> str:
        """Return what creates it by hand."""
        settings = "".join(f" --config {key}={value}" for key, value in self.config.items())
        return f"kafka-topics --create --topic {name} --partitions {self.partitions}{settings}"


class AgentTopics:
    """The topics of one app that are no workflow's."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._known: set[str] = set()
        self._asking = asyncio.Lock()

    def know(self, topics: Iterable[str]) -> None:
        """Take *topics* as there: somebody else has seen to them."""
        self._known.update(topics)

    def knows(self, topic: str) -> bool:
        """Tell whether *topic* is there for sure."""
        return topic in self._known

    async def ensure(self, topics: Iterable[str], settings: Settings) -> None:
        """Return when *topics* are there.

        Raises AgentTopicsMissing where they are not and may not be created.
        """
        async with self._asking:
            missing = set(topics) - self._known
            if missing:
                missing -= await _existing(settings)
            if missing:
                await self._create({name: self._described(name) for name in missing}, settings)
            self._known.update(topics)

    async def _create(self, missing: Mapping[str, AgentTopic], settings: Settings) -> None:
        if not settings.is_local:
            raise AgentTopicsMissing(missing)
        for name, each in sorted(missing.items()):
            topic = Topic(name, tuple(each.config.items()))
            await provision.apply(Plan((topic,), {}, each.partitions), settings)
            _log.info("topic_created", topic=name, partitions=each.partitions)

    def _described(self, name: str) -> AgentTopic:
        channels = (each for each in self._app.topics if name in each.topics)
        return AgentTopic(self._app, next(channels, None))


async def _existing(settings: Settings) -> set[str]:
    arguments = {key: each for key, each in client_arguments(settings).items() if each is not None}
    admin = AIOKafkaAdminClient(**arguments)
    await admin.start()
    try:
        return set(await admin.list_topics())
    finally:
        await admin.close()
