"""
The engines of one Faust app, found by the topics that they read.

An app carries an engine for each of its workflows, and they share its consumer, its broker and its
end.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any

from faust.types import TP

from fleet.config import logs
from fleet.config.settings import Settings
from fleet.engine.step_group import Engine
from fleet.engine.task import Task

#: How long the last commit before a stop or a rebalance may take, in seconds.
LAST_COMMIT_SECONDS = 5.0

_log = logs.get_logger("host")


class Engines:
    """Every engine of one app."""

    def __init__(self) -> None:
        self._engines: list[Engine] = []
        self._by_topic: dict[str, Engine] = {}
        #: Their topics were checked.
        self.opened = False

    def __iter__(self) -> Iterator[Engine]:
        return iter(self._engines)

    def add(self, engine: Engine) -> None:
        """Carry *engine* from the next start on."""
        self._engines.append(engine)
        for topic in engine.inputs:
            self._by_topic[topic] = engine

    @property
    def first(self) -> Engine:
        """The engine whose settings and clients the app uses itself."""
        return self._engines[0]

    @property
    def settings(self) -> Settings:
        """How to reach the app's broker, and more."""
        return self.first.settings

    @property
    def topics(self) -> set[str]:
        """Every topic that an engine reads."""
        return set(self._by_topic)

    def owns(self, topic: str) -> bool:
        """Tell whether *topic* is a workflow's."""
        return topic in self._by_topic

    def leader(self, tp: TP) -> TP:
        """Return the partition of `runs` by which *tp*, of a workflow's topic, is owned."""
        return TP(self._by_topic[tp.topic].topics.runs, tp.partition)

    def task(self, tp: TP) -> Task | None:
        """Return the task that reads *tp*, a partition of a workflow's topic."""
        engine = self._by_topic.get(tp.topic)
        return engine.tasks.get(tp.partition) if engine is not None else None

    def committed(self, tp: TP) -> int | None:
        """Return the committable offset of *tp* as it was last committed, or None before."""
        task = self.task(tp)
        tracker = task.trackers.get(tp.topic) if task is not None else None
        return (tracker.committed or None) if tracker is not None else None

    async def open(self, folder: Path) -> None:
        """Check the topics of every engine; their state goes below *folder*."""
        await asyncio.gather(*(engine.open(folder) for engine in self._engines))
        self.opened = True

    async def drain(self) -> None:
        """Let running steps finish within the drain deadline, and commit; begin no more."""
        seconds = self.settings.drain_seconds
        await self._within(seconds, (engine.drain(seconds) for engine in self._engines))

    async def settle(self, seconds: float) -> None:
        """Let running steps finish within *seconds* and commit; what waits stays waiting."""
        await self._within(seconds, (engine.settle(seconds) for engine in self._engines))

    async def _within(self, seconds: float, work: Iterable[Coroutine[Any, Any, None]]) -> None:
        """Do *work*; without a broker, give up last commits soon after *seconds*."""
        try:
            async with asyncio.timeout(seconds + LAST_COMMIT_SECONDS):
                await asyncio.gather(*work)
        except TimeoutError:
            _log.warning("last_commit_given_up", seconds=LAST_COMMIT_SECONDS)

    async def close(self) -> None:
        """Stop every task."""
        await asyncio.gather(*(engine.close() for engine in self._engines))
