"""A log before a broker that refuses some records."""

from collections.abc import Callable, Mapping, Sequence

from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from task_world import TOPICS, Log, World

from fleet.engine.log import Receipt, RecordsRefused
from fleet.records.log import Outgoing

Refuses = Callable[[Outgoing], bool]


class Refusing:
    """A log before a broker that refuses some records."""

    def __init__(self, log: Log, refuses: Refuses, error: KafkaError) -> None:
        self._log = log
        self._refuses = refuses
        self._error = error
        self.refusals = 0

    async def commit(
        self, records: Sequence[Outgoing], changes: Mapping[bytes, bytes | None]
    ) -> Receipt:
        changelog = [Outgoing(TOPICS.state, key, value, []) for key, value in changes.items()]
        refused = [each for each in [*records, *changelog] if self._refuses(each)]
        if refused:
            self.refusals += 1
            raise RecordsRefused([(each, self._error) for each in refused])
        return await self._log.commit(records, changes)

    async def close(self) -> None:
        await self._log.close()


def refuse(world: World, refuses: Refuses, error: KafkaError | None = None) -> Refusing:
    """Let the broker refuse records from now on."""
    log = Refusing(world.log, refuses, error or MessageSizeTooLargeError())
    world.task.commits._log = log
    return log
