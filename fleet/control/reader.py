"""
A command's reader of the log: connected within `async with`, in no consumer group, read_committed.

What is read, and from where, is for those that build on it.
"""

from types import TracebackType
from typing import Any, Self

from aiokafka.errors import KafkaError

from fleet.config.settings import Settings
from fleet.kafka.clients import BrokerUnreachable, Clients, stop_reader


class Reader:
    """Connects when it is entered, which raises BrokerUnreachable; disconnects when it is left."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        self._settings = settings
        self._consumer: Any = Clients(settings).reader(**options)

    async def __aenter__(self) -> Self:
        try:
            await self._begin()
        except (KafkaError, OSError) as failure:
            await stop_reader(self._consumer)
            raise BrokerUnreachable(self._settings, failure) from None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await stop_reader(self._consumer)

    async def _begin(self) -> None:
        await self._consumer.start()
