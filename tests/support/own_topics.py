"""A real broker, and topics of it that only one test uses."""

from dataclasses import dataclass, field
from uuid import uuid4

import bare
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from fleet.dev.kafka import Broker


@dataclass
class OwnTopics:
    """Makes and reads topics whose names begin with a name of its own."""

    broker: Broker
    name: str = field(default_factory=lambda: f"own{uuid4().hex[:8]}", kw_only=True)

    async def topic(self, name: str, **config: str) -> str:
        """Create a topic of one partition."""
        full = f"{self.name}-{name}"
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(full, 1, 1, topic_configs=config)])
        finally:
            await admin.close()
        return full

    async def values(self, topic: str) -> list[bytes | None]:
        """What is visible in a topic."""
        return [record.value for record in await bare.read(self.broker.bootstrap, topic)]
