"""The stream of a worker's steps, on Kafka."""

from collections.abc import Awaitable

from fleet.engine.stream_record import stream_record
from fleet.engine.transitions.draft import Work
from fleet.kafka.clients import Clients
from fleet.kafka.writer import Writer
from fleet.records.events import Event
from fleet.records.topics import Topics


class KafkaStream:
    """Stream writes of a worker: one idempotent producer, outside of all transactions."""

    def __init__(self, clients: Clients, topics: Topics) -> None:
        self._writer = Writer(clients)
        self._topics = topics

    async def start(self) -> None:
        """Connect."""
        await self._writer.start()

    async def close(self) -> None:
        """Disconnect."""
        await self._writer.stop()

    def write(self, work: Work, attempt_id: str, number: int, event: Event) -> Awaitable[None]:
        """Append *event* to the run's partition; return when it is acknowledged.

        An attempt's events are appended in order, and tried for as long as the attempt lasts.
        """
        record = stream_record(self._topics, work, attempt_id, number, event)
        # Readers know a copy by its number, but not if later events are in between.
        return self._writer.append(record, work.record.partition, repeatable=False)
