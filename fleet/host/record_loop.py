"""
The loop that fetches records and hands them over: to tasks, or to the queue of Faust's agents.

It stands in for Faust's own loop, which filters by read offset and knows only Faust's streams. In
each round it seeks partitions to where their tasks continue, fetches what is wanted now, delivers
it, and tells tasks how far they have read.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka.errors import ConsumerStoppedError, IllegalStateError
from faust.types import TP

from fleet.host.agents.queue import AgentQueue
from fleet.host.hook_check import HookCheck

if TYPE_CHECKING:
    from fleet.host.consumer import Consumer

#: How often tasks hear how far they have read, in seconds.
REACHED_SECONDS = 2.0
#: After this number of records of a partition, other work gets its turn.
TURN_RECORDS = 100


class RecordLoop:
    """Fetches and delivers the records of one consumer."""

    def __init__(self, consumer: "Consumer", hooks: HookCheck) -> None:
        self._consumer = consumer
        self._host = consumer.host
        self._hooks = hooks
        self._queue = AgentQueue(consumer)
        #: When tasks last heard how far they have read, in the loop's time.
        self._reached = 0.0

    async def run(self, fetcher: Any) -> None:
        """Take records until *fetcher* or its consumer stops, or agents fail."""
        consumer = self._consumer
        agents = asyncio.create_task(self._queue.run(), name="records of agents")
        try:
            while not (consumer.should_stop or fetcher.should_stop or agents.done()):
                await self._take_some()
            if agents.done():
                agents.result()
        except (ConsumerStoppedError, asyncio.CancelledError):
            if not consumer.app.should_stop:
                raise
        finally:
            agents.cancel()
            await asyncio.gather(agents, return_exceptions=True)
            self._queue.clear()

    async def _take_some(self) -> None:
        await self._go_live()
        await asyncio.sleep(0)
        records, _ = await self._consumer._wait_next_records(timeout=1.0)
        if records:
            self._hooks.before_records()
        for tp, batch in (records or {}).items():
            await self.take(TP(*tp), batch)
        await self._queue.handed_over()
        await self._note_reached()

    # -- what is fetched ------------------------------------------------------------------------

    def wants(self, tp: TP) -> bool:
        """Whether records of *tp* are to be fetched now."""
        if self._host.engines.owns(tp.topic):
            return self._host.live.takes(tp)
        if self._queue.holds(tp):
            return False
        # Faust fetches for tables before it has sought the partitions of agents. Then it clears
        # the queues of their streams: records that agents got in between would be lost.
        return not self._consumer.app.rebalancing or self._consumer._is_changelog_tp(tp)

    async def _go_live(self) -> None:
        consumer, live = self._consumer, self._host.live
        sure = live.heartbeat()
        if not consumer.flow_active:
            return
        if not sure:
            await live.confirm()
        assigned = consumer.assignment()
        starting = live.starting(assigned)
        if starting:
            try:
                await consumer._thread.seek_wait(starting)
            except (IllegalStateError, AssertionError, TimeoutError):
                # Revoked in between; the next owner seeks again.
                return
            live.begin(starting)
        self._host.assignment.served(assigned)

    # -- what is delivered ----------------------------------------------------------------------

    async def take(self, tp: TP, batch: list[Any]) -> None:
        """Hand a fetched batch to its task, or to the agents' queue."""
        if not self._host.engines.owns(tp.topic):
            self._queue.hold(tp, batch)
            return
        for start in range(0, len(batch), TURN_RECORDS):
            self._host.live.deliver(tp, batch[start : start + TURN_RECORDS])
            await asyncio.sleep(0)

    async def _note_reached(self) -> None:
        """Tell tasks how far they have read; only while no record is on its way to one."""
        consumer, now = self._consumer, self._consumer.loop.time()
        is_due = now >= self._reached + REACHED_SECONDS
        if is_due and consumer.flow_active and not consumer.app.rebalancing:
            self._reached = now
            self._host.live.reach(await consumer._thread.stable_ends(self._host.live))
