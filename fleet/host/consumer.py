"""
Faust's consumer, with our tasks beside its streams.

Here is what Faust calls. Records of workflow topics go from the fetcher to their task
(`record_loop`), without Faust's streams, buffers, acknowledgements and tables. All other records
take Faust's own way (`agents.queue`), and agents that read a workflow topic have a reader of their
own (`agents.feed`).
"""

import asyncio
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from fleet.host.agents.feed import AgentFeed
from fleet.host.hook_check import HookCheck
from fleet.host.hooks import hook
from fleet.host.lost_tasks import LostTasks
from fleet.host.record_loop import RecordLoop
from fleet.host.thread import ConsumerThread
from fleet.host.watches import Watches
from fleet.records.errors import FleetError

if TYPE_CHECKING:
    from fleet.host.transport import Transport

#: How long a rebalance is held up so that running steps can finish here, in seconds.
REVOKE_SECONDS = 2.0
#: How long a fetch leaves out partitions that are not ready for records, in seconds.
UNREADY_SECONDS = 0.05


class Consumer(driver.Consumer):
    """Faust's consumer, with our tasks beside its streams."""

    transport: "Transport"
    app: Any
    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.host = self.transport.host
        self._lost = LostTasks(self.host, self.loop.time)
        #: The group is being joined again.
        self._joining = False
        self._feed = AgentFeed(self._to_message, self._hand_to_agents, self._feed_failed)
        hooks = HookCheck(self, self._thread.findings, self.commit_interval)
        self._records = RecordLoop(self, hooks)
        self.add_dependency(Watches(self, hooks, self._lost))

    @hook
    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def on_start(self) -> None:
        """Check the topics before anything subscribes to them."""
        await super().on_start()
        for engine in self.host.engines:
            engine.on_failure = lambda failure: self.add_future(self.crash(failure))
            engine.group = self.app.conf.id
        if not self.host.engines.opened:
            await self.host.engines.open(self.app.conf.tabledir)

    async def on_stop(self) -> None:
        """Let running steps finish, commit, then leave the group."""
        await self._feed.stop()
        await self.host.drain()
        await super().on_stop()
        await self.host.close()

    @hook
    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe to the workflows' topics, too; make sure that all topics exist."""
        others = set(topics) - self.host.engines.topics
        await self.transport.agent_topics.ensure(others, self.host.engines.settings)
        # From here on there is no assignment until the next one, and nothing can be committed.
        await self.commit()
        await super().subscribe(others | self.host.engines.topics)

    # -- rebalances ---------------------------------------------------------------------------

    @hook
    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit what can be finished soon, before Faust forgets its own acknowledgements."""
        self.stop_flow()
        self.host.assignment.revoked()
        await self._feed.stop()
        await self.host.engines.settle(REVOKE_SECONDS)
        await self.commit()
        await super().on_partitions_revoked(revoked)
        self._joining = True
        await self.maybe_wait_for_commit_to_finish()

    @hook
    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Start tasks, their producers first, before Faust seeks to committed offsets."""
        self._joining = False
        self._feed.forget()
        try:
            await self.host.assignment.assign(assigned)
        except Exception as failure:  # noqa: BLE001 - Faust only logs what a listener raises
            await self.crash(failure)
            return
        self._lost.replaced()
        await super().on_partitions_assigned(assigned, generation_id)

    @hook
    async def perform_seek(self) -> None:
        """Seek to the committed offsets; agents of workflow topics continue there, too.

        Faust calls this last of all, when its tables are recovered.
        """
        await super().perform_seek()
        # While tables were recovered, partitions were sought to where tasks continue: do it again.
        self.host.live.clear()
        await self._feed.stop()
        positions = {
            tp: self._committed_offset[tp] or 0
            for tp in self.assignment()
            if self.host.engines.owns(tp.topic) and self.app.topics._tp_index.get(tp)
        }
        self._feed.start(self.host.engines.settings, positions)

    def _feed_failed(self, failure: BaseException) -> None:
        self.add_future(self.crash(failure))

    # -- records ------------------------------------------------------------------------------

    @hook
    async def _drain_messages(self, fetcher: Any) -> None:
        await self._records.run(fetcher)

    @hook
    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        active = active_partitions or set()
        wanted = {tp for tp in active if self._records.wants(tp)}
        if len(wanted) < len(active):
            # The others may be ready soon.
            timeout = UNREADY_SECONDS
        if not wanted:
            await asyncio.sleep(timeout)
            return {}
        return await super()._getmany(wanted, timeout)

    async def _hand_to_agents(self, message: Any) -> None:
        while self.app.rebalancing:  # noqa: ASYNC110 - Faust has a flag for it and no event
            await asyncio.sleep(UNREADY_SECONDS)
        await self.callback(message)

    @hook
    def on_buffer_full(self, tp: TP) -> None:
        """Fetch no more for agents that have enough; tasks of workflows continue."""
        if not self.host.engines.owns(tp.topic):
            super().on_buffer_full(tp)

    # -- offsets: they follow the trackers, for lag and for seeking ------------------------------

    @hook
    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit offsets, but not while the group is being joined, and not after a crash.

        The broker answers the requests of a connection in order. It answers a commit that is sent
        during a join when the join is done and the commit's generation has passed. aiokafka then
        takes the new generation for invalid and joins again, endlessly. A crash also ends the
        consumer's thread: no commit would be answered, and stopping would hang.
        """
        if self._joining or self.crashed:
            return False
        done: bool = await super().commit(topics, start_new_transaction)
        return done

    @hook
    def ack(self, message: Any) -> bool:
        """Note that agents are done with a record."""
        if not self.host.engines.owns(message.topic):
            done: bool = super().ack(message)
            return done
        message.acked = True
        self._feed.acknowledge(message.tp, message.offset)
        return True

    @hook
    def _clean_unacked_messages(self) -> None:
        # A stop would wait for these for ever. Streams skip records of an older generation without
        # acknowledging them. Answers to `ask` have a second reader, which reads nothing.
        super()._clean_unacked_messages()
        generation, answers = self.app.consumer_generation_id, self.app._reply_consumer._fetchers
        self._unacked_messages -= {
            message
            for message in self._unacked_messages
            if message.generation_id != generation or message.topic in answers
        }

    @hook
    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        yield from super()._filter_tps_with_pending_acks(topics)
        for tp in self.host.assignment.owned():
            if topics is None or tp in topics or tp.topic in topics:
                yield tp

    @hook
    def _new_offset(self, tp: TP) -> int | None:
        if not self.host.engines.owns(tp.topic):
            theirs: int | None = super()._new_offset(tp)
            return theirs
        ours = self.host.engines.committed(tp)
        if ours is None or not self.app.topics.acks_enabled_for(tp.topic):
            return ours
        self._hear_acknowledged(tp)
        return self._feed.limited(tp, ours)

    def _hear_acknowledged(self, tp: TP) -> None:
        # Faust's compiled stream notes acknowledgements by itself, without calling `ack`. When the
        # app stops, it also acknowledges the event of each cancelled agent: that event comes again.
        if self.app.should_stop:
            return
        self._acked_index.pop(tp, None)
        for offset in self._acked.pop(tp, ()):
            self._feed.acknowledge(tp, offset)

    @hook
    def verify_event_path(self, now: float, tp: TP) -> None:
        """Skip workflow topics: Faust's alarm looks at streams, which they do not have."""
        if not self.host.engines.owns(tp.topic):
            super().verify_event_path(now, tp)

    async def yield_partitions(self, reason: FleetError) -> None:
        """Give up all partitions and end, without another commit.

        Another worker owns them, or the logs are not those that the tasks have loaded.
        """
        await self.host.assignment.assign(())
        await self.crash(reason)
