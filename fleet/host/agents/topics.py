"""
The topics of Faust's own agents and tables exist before anything waits for them.

Kafka says nothing about a missing topic: an agent would wait for ever, and so would a table's
recovery. On a broker of this machine we create missing topics, as for workflows. On any other
broker its operators decide about partitions and replication, and we name the missing topics.
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
        shown = "; ".join(topic.command(name) for name, topic in sorted(wanted.items()))
        super().__init__(
            f"the broker has no {', '.join(sorted(wanted))}, which agents or tables of this app "
            f"use: {shown}. On a broker of this machine Fleet creates them"
        )


class AgentTopic:
    """How to create a topic of Faust's."""

    def __init__(self, app: Any, channel: Any = None) -> None:
        self.partitions: int = getattr(channel, "partitions", None) or app.conf.topic_partitions
        self.config: dict[str, str] = {}
        if getattr(channel, "compacting", None):
            self.config["cleanup.policy"] = "compact"
        if getattr(channel, "retention", None):
            self.config["retention.ms"] = str(int(float(channel.retention) * 1000))
        self.config |= {name: str(value) for name, value in getattr(channel, "config", {}).items()}

    def command(self, name: str) -> str:
        """Return the command that creates it."""
        settings = "".join(f" --config {key}={value}" for key, value in self.config.items())
        return f"kafka-topics --create --topic {name} --partitions {self.partitions}{settings}"


class AgentTopics:
    """The topics of one app that belong to no workflow."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._known: set[str] = set()
        self._asking = asyncio.Lock()

    def know(self, topics: Iterable[str]) -> None:
        """Take *topics* as existing: others have made sure of them."""
        self._known.update(topics)

    def knows(self, topic: str) -> bool:
        """Tell whether *topic* is known to exist."""
        return topic in self._known

    async def ensure(self, topics: Iterable[str], settings: Settings) -> None:
        """Return when *topics* exist.

        Raises AgentTopicsMissing if they do not, on a broker of another machine.
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
        for name, wanted in sorted(missing.items()):
            topic = Topic(name, tuple(wanted.config.items()))
            await provision.apply(Plan((topic,), {}, wanted.partitions), settings)
            _log.info("topic_created", topic=name, partitions=wanted.partitions)

    def _described(self, name: str) -> AgentTopic:
        channels = (channel for channel in self._app.topics if name in channel.topics)
        return AgentTopic(self._app, next(channels, None))


async def _existing(settings: Settings) -> set[str]:
    given = client_arguments(settings)
    arguments = {key: value for key, value in given.items() if value is not None}
    admin = AIOKafkaAdminClient(**arguments)
    await admin.start()
    try:
        return set(await admin.list_topics())
    finally:
        await admin.close()
