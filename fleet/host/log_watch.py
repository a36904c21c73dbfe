"""
Whether the logs of a running worker are still those that it has loaded.

A consumer reads by offsets, and Kafka does not say that a topic was deleted and created again. The
worker would read the new topic by the old offsets, and skip records that it takes for done. So it
regularly asks the broker for the topics' ids, first offsets and ends. If it finds other logs, it
ends: its state belongs to the old ones.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faust.types import TP

from fleet.config import logs
from fleet.engine.loading.log_check import Found, Known, LogGone, LogReplaced, judge
from fleet.host.host import Host
from fleet.kafka.clients import Clients, stop_reader
from fleet.kafka.topic_identity import UNKNOWN

#: How often the worker asks, in seconds: it notices a replaced topic at most this late.
LOOK_SECONDS = 5.0
#: For how many looks a topic may be missing: a starting broker may not know it at once.
MISSING_LOOKS = 3
#: How long the broker may take to answer, in seconds.
ANSWER_SECONDS = 10.0

_log = logs.get_logger("logs")


class LogWatch:
    """Looks at the logs of one host's tasks."""

    def __init__(self, host: Host, clients: Clients) -> None:
        self._host = host
        self._clients = clients
        self._reader: Any = None
        #: For how many looks each topic was missing.
        self._missing: Counter[str] = Counter()
        self._told = False

    async def run(self) -> None:
        """Look until cancelled; raises LogReplaced, LogShrunk and LogGone."""
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                await self.look()
        finally:
            await self._disconnect()

    async def look(self) -> None:
        """Compare what tasks know with what the broker has, if it answers."""
        # Before the broker answers: later a task may have read further than that.
        known, states = dict(self._known()), dict(self._states())
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                ids = await self._ids({tp.topic for tp in known} | states.keys())
                found = await self._find([tp for tp in known if tp.topic in ids], ids)
        except (KafkaError, OSError, TimeoutError):
            await self._disconnect()
            return
        self._check_missing(ids, {tp.topic for tp in known} | states.keys())
        for topic, log_id in states.items():
            now = ids.get(topic, UNKNOWN)
            if log_id and now and log_id != now:
                raise LogReplaced(topic, log_id, now)
        for tp, log in found.items():
            failure = judge(tp.topic, tp.partition, known[tp], log)
            if failure is not None:
                raise failure
            self._host.live.log_begins(tp, log.begin)
            task = self._host.engines.task(tp)
            if task is not None and task is known[tp].task:
                task.intake.skipped(tp.topic, log.begin)

    def _known(self) -> Iterator[tuple[TP, Known]]:
        for tp in self._host.assignment.owned():
            task = self._host.engines.task(tp)
            # A task that is being loaded compares by itself.
            if task is not None and task.taking:
                tracker = task.trackers[tp.topic]
                tracker.ask()
                yield tp, Known(tracker.log_id, tracker.next, task)

    def _states(self) -> Iterator[tuple[str, str]]:
        for engine in self._host.engines:
            if engine.state_log_id:
                yield engine.topics.state, engine.state_log_id

    async def _ids(self, topics: set[str]) -> dict[str, str]:
        if not topics:
            return {}
        ids = dict(await self._clients.log_ids(await self._connected(), topics))
        if UNKNOWN in ids.values() and not self._told:
            self._told = True
            _log.warning(
                "topic_ids_unknown",
                reason="the broker tells none (Kafka 2.8 and later do): this worker notices that a "
                "topic was deleted and created again only if it is shorter, or at the next start",
            )
        return ids

    async def _find(self, tps: list[TP], ids: dict[str, str]) -> dict[TP, Found]:
        if not tps:
            return {}
        reader, asked = await self._connected(), [TopicPartition(*tp) for tp in tps]
        begins, ends = await reader.beginning_offsets(asked), await reader.end_offsets(asked)
        return {TP(*tp): Found(ids[tp.topic], begins[tp], ends[tp]) for tp in asked}

    def _check_missing(self, ids: dict[str, str], topics: set[str]) -> None:
        missing = topics - ids.keys()
        self._missing = Counter({topic: self._missing[topic] + 1 for topic in missing})
        for topic, looks in sorted(self._missing.items()):
            if looks == 1:
                _log.warning("topic_missing", topic=topic)
            if looks >= MISSING_LOOKS:
                raise LogGone(topic)

    async def _connected(self) -> Any:
        if self._reader is None:
            self._reader = self._clients.reader()
            await self._reader.start()
        return self._reader

    async def _disconnect(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await stop_reader(reader)
