"""
What one Faust app carries: the engines of its workflows, and which partitions they take now.

It knows nothing of Faust. Faust's consumer (`consumer.py`) asks it whose a record is and tells it
what was assigned.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any

from faust.types import TP

from fleet.config import logs
from fleet.config.settings import Settings
from fleet.engine.guarded_store import StoreFailed
from fleet.engine.step_group import Engine
from fleet.engine.task import Task
from fleet.kafka.records import delivered

#: How long the last commit before a stop or a rebalance may take, in seconds.
LAST_COMMIT_SECONDS = 5.0

_log = logs.get_logger("host")


class Host:
    """The engines of one app, and which partitions' records they take now."""

    def __init__(self) -> None:
        self.engines: list[Engine] = []
        self._by_topic: dict[str, Engine] = {}
        #: Partitions that were sought to their task's frontier since they were assigned. Only
        #: their records are taken, so a task sees every record from its frontier on.
        self.live: set[TP] = set()
        #: The first offset of each input partition, as last seen; see `log_watch`.
        self.begins: dict[TP, int] = {}
        self.opened = False
        #: No task begins any more: the process is on its way out.
        self._draining = False
        self._assigned = False
        #: The workflow partitions that are assigned to this process and its own.
        self._owned: list[TP] = []
        #: Since when not all partitions are served, in the loop's time.
        self._stalled_since: float | None = None

    def add(self, engine: Engine) -> None:
        """Carry *engine* from the next start on."""
        self.engines.append(engine)
        for topic in engine.inputs:
            self._by_topic[topic] = engine

    @property
    def topics(self) -> set[str]:
        """Every topic that an engine reads."""
        return set(self._by_topic)

    @property
    def settings(self) -> Settings:
        """How the app's broker is reached."""
        return self.engines[0].settings

    @property
    def unready(self) -> str:
        """Why not all that was assigned is served; empty where it is."""
        if self._draining:
            return "the worker is stopping"
        if not self._assigned:
            return "no partition was assigned yet"
        if not all(engine.ready for engine in self.engines):
            troubles = [each for engine in self.engines for each in engine.troubles]
            return "; ".join(["tasks are being loaded", *troubles])
        return "" if self._stalled_since is None else "a rebalance is under way"

    def owns(self, topic: str) -> bool:
        """Tell whether *topic* is a workflow's."""
        return topic in self._by_topic

    async def open(self, folder: Path) -> None:
        """Check the topics of every engine."""
        await asyncio.gather(*(engine.open(folder) for engine in self.engines))
        self.opened = True

    async def drain(self) -> None:
        """Take nothing new, let running steps finish within the drain deadline, commit."""
        self._draining = True
        seconds = self.settings.drain_seconds
        await self._within(seconds, (engine.drain(seconds) for engine in self.engines))

    async def settle(self, seconds: float) -> None:
        """Let running steps finish within *seconds* and commit; what waits stays waiting."""
        await self._within(seconds, (engine.settle(seconds) for engine in self.engines))

    async def _within(self, seconds: float, work: Iterable[Coroutine[Any, Any, None]]) -> None:
        """Do *work*; last commits may take a little longer, and not for ever without a broker."""
        try:
            async with asyncio.timeout(seconds + LAST_COMMIT_SECONDS):
                await asyncio.gather(*work)
        except TimeoutError:
            _log.warning("last_commit_given_up", seconds=LAST_COMMIT_SECONDS)

    async def close(self) -> None:
        """Stop every task."""
        self._draining = True
        self.live.clear()
        await asyncio.gather(*(engine.close() for engine in self.engines))

    async def assign(self, assigned: Iterable[TP]) -> None:
        """Own the workflow partitions among *assigned*, each with its partition of `runs` only.

        A leader of another version may assign a topic that not all members read by itself; the
        member with the partition of `runs` is the one owner.
        """
        self.live.clear()
        if self._draining:
            return
        self._assigned = True
        assigned = list(assigned)
        leads = set(assigned)
        self._owned = [tp for tp in assigned if self.owns(tp.topic) and self._lead(tp) in leads]
        await asyncio.gather(
            *(
                engine.assign({tp.partition for tp in leads if tp.topic == engine.topics.runs})
                for engine in self.engines
            )
        )

    def _lead(self, tp: TP) -> TP:
        """Return the partition of `runs` by which *tp* is owned."""
        return TP(self._by_topic[tp.topic].topics.runs, tp.partition)

    def revoked(self) -> None:
        """Take nothing until the next assignment: a rebalance begins."""
        self.live.clear()
        if self._stalled_since is None:
            self._stalled_since = asyncio.get_running_loop().time()
        for engine in self.engines:
            engine.revoked()
            engine.observer.rebalanced()

    def served(self, assigned: Iterable[TP]) -> None:
        """Note it where the partitions among *assigned* that are our own are all taken again."""
        if self._stalled_since is None or not self._assigned:
            return
        ours = set(self._owned).intersection(assigned)
        if ours <= self.live:
            seconds = asyncio.get_running_loop().time() - self._stalled_since
            self._stalled_since = None
            for engine in self.engines:
                engine.observer.served_again(seconds)

    def task(self, tp: TP) -> Task | None:
        """Return the task that reads *tp*, a partition of a workflow's topic."""
        engine = self._by_topic.get(tp.topic)
        return engine.tasks.get(tp.partition) if engine is not None else None

    def takes(self, tp: TP) -> bool:
        """Whether records of *tp* are wanted now."""
        task = self.task(tp)
        return tp in self.live and task is not None and task.takes(tp.topic)

    def beat(self) -> bool:
        """Note that this process runs; take nothing more where it did not for too long."""
        # Each of them has to hear it, so none may be left out.
        beats = [engine.step_group.ownership.heartbeat() for engine in self.engines]
        if not all(beats):
            self.live.clear()
        return all(beats)

    async def confirm(self) -> None:
        """Let every task find out whether it still owns its partition."""
        await asyncio.gather(*(engine.confirm() for engine in self.engines))

    def deliver(self, tp: TP, records: list[Any]) -> None:
        """Hand records to their task; those that are dropped will be sought back to."""
        self.beat()
        task = self.task(tp)
        if tp not in self.live or task is None or not task.alive:
            self.live.discard(tp)
            return
        try:
            for record in records:
                task.deliver(delivered(record))
        except StoreFailed:
            # The task is lost with its local state, and knows it: the records come again.
            self.live.discard(tp)

    def starting(self, assigned: Iterable[TP]) -> dict[TP, int]:
        """Return the partitions whose task is ready and whose records are not taken yet.

        The offset of each is where its task wants to go on.
        """
        found = {}
        for tp in assigned:
            task = self.task(tp)
            if tp not in self.live and task is not None and task.taking:
                found[tp] = task.trackers[tp.topic].unseen
        return found

    def leave(self, partition: int) -> None:
        """Take no records of *partition* until its tasks were sought to again."""
        self.live = {tp for tp in self.live if tp.partition != partition}

    def partitions(self) -> Iterator[TP]:
        """Yield the partitions that tasks are there for."""
        yield from (tp for tp in self._owned if self.task(tp) is not None)

    def committed(self, tp: TP) -> int | None:
        """Return the frontier of *tp* as it was last committed, or None before."""
        task = self.task(tp)
        tracker = task.trackers.get(tp.topic) if task is not None else None
        return (tracker.committed or None) if tracker is not None else None
