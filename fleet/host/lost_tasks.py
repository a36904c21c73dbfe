"""
Lost tasks: they wait for a newer owner to make itself known, and then start again.

A task is lost because another worker owns the partition, which a rebalance reports soon, or because
the broker gave up on a transaction. Only the second is ours to fix.
"""

from collections.abc import Callable

from fleet.engine.step_group import Engine
from fleet.host.host import Host

#: How long a lost task waits for a rebalance to take its partition, in seconds.
REOPEN_SECONDS = 15.0


class LostTasks:
    """The lost tasks of one host, and since when they are lost."""

    def __init__(self, host: Host, now: Callable[[], float]) -> None:
        self._host = host
        self._now = now
        self._since: dict[tuple[str, int], float] = {}

    def replaced(self) -> None:
        """Note that a rebalance has started every lost task again."""
        self._since.clear()

    async def reopen(self) -> None:
        """Start tasks again that have waited long enough."""
        for engine in self._host.engines:
            for partition in engine.lost:
                since = self._since.setdefault((engine.topics.engine_id, partition), self._now())
                if self._now() - since > REOPEN_SECONDS:
                    await self._reopen(engine, partition)

    async def _reopen(self, engine: Engine, partition: int) -> None:
        del self._since[engine.topics.engine_id, partition]
        self._host.live.leave(partition)
        await engine.reopen(partition)
