"""
Which partitions' records are taken now, and their delivery to tasks.

A partition is live once it was sought to the first offset that its task still needs. It is live
until it is revoked, its task is lost, or the process may have lost its assignment. The records of
other partitions are dropped, and the consumer seeks back to them. So a task gets every record from
that offset on.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from faust.types import TP

from fleet.engine.loading.guarded_store import StoreFailed
from fleet.host.engines import Engines
from fleet.kafka.records import delivered


class LivePartitions:
    """The partitions of one app whose records are taken now."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._live: set[TP] = set()
        #: The first offset of each partition's log, as last seen.
        self._log_begins: dict[TP, int] = {}

    def __iter__(self) -> Iterator[TP]:
        return iter(self._live)

    def __contains__(self, tp: object) -> bool:
        return tp in self._live

    def takes(self, tp: TP) -> bool:
        """Whether records of *tp* are wanted now."""
        task = self._engines.task(tp)
        return tp in self._live and task is not None and task.takes(tp.topic)

    # -- going live -----------------------------------------------------------------------------

    def starting(self, assigned: Iterable[TP]) -> dict[TP, int]:
        """Return the partitions whose task is ready and whose records are not taken yet.

        Each has the offset at which its task continues.
        """
        found = {}
        for tp in assigned:
            task = self._engines.task(tp)
            if tp not in self._live and task is not None and task.taking:
                found[tp] = task.trackers[tp.topic].unseen
        return found

    def begin(self, tps: Iterable[TP]) -> None:
        """Take records of *tps*, which were sought to where their tasks continue."""
        self._live.update(tps)

    def clear(self) -> None:
        """Take no records until partitions were sought to again."""
        self._live.clear()

    def leave(self, partition: int) -> None:
        """Take no records of *partition* until its tasks were sought to again."""
        self._live = {tp for tp in self._live if tp.partition != partition}

    # -- ownership ------------------------------------------------------------------------------

    def heartbeat(self) -> bool:
        """Note that this process runs; take nothing more if it did not for too long."""
        # Every engine has to hear it.
        heard = [engine.step_group.ownership.heartbeat() for engine in self._engines]
        if not all(heard):
            self._live.clear()
        return all(heard)

    async def confirm(self) -> None:
        """Let every task find out whether it still owns its partition."""
        await asyncio.gather(*(engine.confirm() for engine in self._engines))

    # -- records --------------------------------------------------------------------------------

    def deliver(self, tp: TP, records: list[Any]) -> None:
        """Hand records to their task; those that are dropped will be sought back to."""
        self.heartbeat()
        task = self._engines.task(tp)
        if tp not in self._live or task is None or not task.alive:
            self._live.discard(tp)
            return
        try:
            for record in records:
                task.intake.deliver(delivered(record))
        except StoreFailed:
            # The task is lost with its local state, and knows it: the records come again.
            self._live.discard(tp)

    def log_begins(self, tp: TP, offset: int) -> None:
        """Note the first offset that the log of *tp* has."""
        self._log_begins[tp] = offset

    def reach(self, ends: Mapping[TP, tuple[int, int]]) -> None:
        """Tell tasks how far they have read: for each partition its position and stable end."""
        for tp, (position, stable_end) in ends.items():
            task = self._engines.task(tp)
            # A partition that was revoked meanwhile may have another task now, which has not read
            # so far.
            if task is not None and tp in self._live:
                task.intake.reaches(tp.topic, position, stable_end, self._log_begins.get(tp, 0))
