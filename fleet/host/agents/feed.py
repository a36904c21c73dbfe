"""
Records of workflow topics for the agents that read them, beside the tasks.

Agents and tasks proceed independently: a slow agent must not hold the workflow, and a task must not
take the agent past a record that it has not acknowledged. A consumer has one position in a
partition, so the agents have a reader of their own, in no group. It starts at the group's offset,
which is the lower of the task's committable offset and the agents' own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiokafka import TopicPartition
from faust.types import TP

from fleet.config import logs
from fleet.config.settings import Settings
from fleet.engine.offsets import OffsetTracker
from fleet.kafka.clients import Clients
from fleet.kafka.topic_reader import TopicReader

#: How long the broker waits for records before it answers: agents read beside the tasks.
_FETCH_WAIT_MS = 200
_BATCH_RECORDS = 500

_log = logs.get_logger("agent_feed")


class AgentFeed:
    """Hands records to agents, and knows what they have acknowledged."""

    def __init__(
        self,
        message: Callable[[TP, Any], Any],
        hand: Callable[[Any], Awaitable[None]],
        failed: Callable[[BaseException], object],
    ) -> None:
        self._message = message
        self._hand = hand
        self._failed = failed
        #: Which records of each partition the agents have acknowledged. No commit contains it: the
        #: group's offset is its only trace.
        self._trackers: dict[TP, OffsetTracker] = {}
        self._readers: list[asyncio.Task[None]] = []

    def start(self, settings: Settings, positions: Mapping[TP, int]) -> None:
        """Read each partition from its position on; 0 is the beginning."""
        self._trackers = {tp: OffsetTracker(next=offset) for tp, offset in positions.items()}
        # A reader per topic: an agent that does not keep up holds its own topic only.
        for topic in sorted({tp.topic for tp in positions}):
            several = [tp for tp in positions if tp.topic == topic]
            reading = asyncio.create_task(self._read(settings, several), name=f"feed {topic}")
            reading.add_done_callback(self._ended)
            self._readers.append(reading)

    def forget(self) -> None:
        """Forget what was handed out: another worker may have had the partitions."""
        self._trackers = {}

    async def stop(self) -> None:
        """Hand out no more records; agents may still acknowledge those that they have."""
        readers, self._readers = self._readers, []
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)

    def acknowledge(self, tp: TP, offset: int) -> None:
        """Note that the agents are done with a record, whichever delivery of it that was.

        Unlike a task, an agent may be done twice, or with a record of an earlier assignment.
        """
        tracker = self._trackers.get(tp)
        if tracker is not None and offset in tracker:
            tracker.done(offset)

    def limited(self, tp: TP, offset: int) -> int | None:
        """Return *offset*, or the lowest that the agents have not acknowledged if that is lower.

        None if it is not known what they have acknowledged.
        """
        tracker = self._trackers.get(tp)
        return None if tracker is None else min(offset, tracker.lowest)

    async def _read(self, settings: Settings, tps: list[TP]) -> None:
        async with TopicReader(Clients(settings), fetch_max_wait_ms=_FETCH_WAIT_MS) as reader:
            positions = {TopicPartition(*tp): self._trackers[tp].next for tp in tps}
            async for found in reader.follow(positions, _BATCH_RECORDS):
                for tp, records in found.items():
                    await self._hand_all(TP(*tp), records)

    async def _hand_all(self, tp: TP, records: list[Any]) -> None:
        tracker = self._trackers[tp]
        for record in records:
            tracker.deliver(record.offset)
            await self._hand(self._message(tp, record))

    def _ended(self, reading: "asyncio.Task[None]") -> None:
        if not reading.cancelled() and (failure := reading.exception()) is not None:
            _log.error("agent_feed_failed", reader=reading.get_name(), reason=repr(failure))
            self._failed(failure)
