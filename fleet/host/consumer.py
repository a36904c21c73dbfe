"""
Faust's consumer, with our tasks beside its streams.

Records of workflow topics go from the fetcher to their task, without Faust's streams, buffers,
acknowledgements and tables. Everything else takes Faust's own way (`faust_records`), and agents
that read a workflow topic have a reader of their own (`agent_feed`).
"""

import asyncio
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import faust
from aiokafka.errors import ConsumerStoppedError, IllegalStateError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from fleet.host.agent_feed import AgentFeed
from fleet.host.compatibility import IncompatibleHost
from fleet.host.hooks import hook, uncalled
from fleet.host.log_watch import LogWatch
from fleet.host.loop_watch import LoopWatch
from fleet.host.lost_tasks import LostTasks
from fleet.host.native_records import NativeRecords
from fleet.host.progress import Progress
from fleet.host.thread import ConsumerThread
from fleet.kafka.membership import InstanceTaken, Refusals
from fleet.records.errors import FleetError

if TYPE_CHECKING:
    from fleet.host.transport import Transport

#: What Faust has called before it hands us a record.
BEFORE_RECORDS = (
    "_new_consumer_thread",
    "subscribe",
    "on_partitions_revoked",
    "on_partitions_assigned",
    "_drain_messages",
    "_getmany",
)
#: What Faust calls sooner or later when there are tasks and no tables to recover.
SOONER_OR_LATER = (
    "perform_seek",
    "_drain_messages",
    "_filter_tps_with_pending_acks",
    "_new_offset",
)
#: And that within so many of its commit intervals.
OVERDUE_COMMITS = 4
#: How often lost tasks and end offsets are looked at, in seconds.
WATCH_SECONDS = 2.0
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
        self._refusals = Refusals(self.app.conf.id, self.loop.time)
        #: The group is being joined again.
        self._joining = False
        #: The hooks were called that have to be before a record is taken.
        self._checked = False
        #: For how many looks a hook has not been called that was to be.
        self._overdue_looks = 0
        #: When tasks were told how far they have read, in the loop's time.
        self._noted = 0.0
        self._feed = AgentFeed(self._to_message, self._hand_to_agents, self._feed_failed)
        self._native = NativeRecords(self)

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
        """Let running steps finish, commit, then leave."""
        await self._feed.stop()
        await self.host.drain()
        await super().on_stop()
        await self.host.close()

    @hook
    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe to the workflows' topics, too; all of them are there afterwards."""
        native = set(topics) - self.host.engines.topics
        await self.transport.native_topics.ensure(native, self.host.engines.settings)
        # From here on there is no assignment until the next one, so nothing could be committed.
        await self.commit()
        await super().subscribe(native | self.host.engines.topics)

    # -- rebalances ---------------------------------------------------------------------------

    @hook
    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit what can be finished soon; Faust forgets its own acknowledgements in here."""
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
        """Seek to what is committed; agents of workflow topics go on from there, too.

        Faust calls this last of all, when its tables are recovered.
        """
        await super().perform_seek()
        # Tasks have been sought to their trackers while tables were recovered: seek them again.
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
        # Faust's own loop filters by read offset and knows only its streams.
        agents = asyncio.create_task(self._native.run(), name="records of agents")
        try:
            while not (self.should_stop or fetcher.should_stop or agents.done()):
                await self._go_live()
                await asyncio.sleep(0)
                records, _ = await self._wait_next_records(timeout=1.0)
                if records and not self._checked:
                    self._check_hooks()
                for tp, batch in (records or {}).items():
                    await self._take(TP(*tp), batch)
                await self._native.handed_over()
                await self._note_reached()
            if agents.done():
                agents.result()
        except (ConsumerStoppedError, asyncio.CancelledError):
            if not self.app.should_stop:
                raise
        finally:
            agents.cancel()
            await asyncio.gather(agents, return_exceptions=True)
            self._native.clear()

    @hook
    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        active = active_partitions or set()
        wanted = {tp for tp in active if self._wants(tp)}
        if len(wanted) < len(active):
            # Somebody may be ready soon.
            timeout = UNREADY_SECONDS
        if not wanted:
            await asyncio.sleep(timeout)
            return {}
        return await super()._getmany(wanted, timeout)

    def _wants(self, tp: TP) -> bool:
        if self.host.engines.owns(tp.topic):
            return self.host.live.takes(tp)
        if self._native.holds(tp):
            return False
        # Faust fetches for tables before it has sought the partitions of agents, and when it has,
        # it clears the queues of their streams: what they got in between would be lost.
        return not self.app.rebalancing or self._is_changelog_tp(tp)

    async def _hand_to_agents(self, message: Any) -> None:
        while self.app.rebalancing:  # noqa: ASYNC110 - Faust has a flag for it and no event
            await asyncio.sleep(UNREADY_SECONDS)
        await self.callback(message)

    async def _go_live(self) -> None:
        sure = self.host.live.heartbeat()
        if not self.flow_active:
            return
        if not sure:
            await self.host.live.confirm()
        assigned = self.assignment()
        starting = self.host.live.starting(assigned)
        if starting:
            try:
                await self._thread.seek_wait(starting)
            except (IllegalStateError, AssertionError, TimeoutError):
                # Revoked in between; whoever is assigned next seeks again.
                return
            self.host.live.begin(starting)
        self.host.assignment.served(assigned)

    async def _take(self, tp: TP, batch: list[Any]) -> None:
        if not self.host.engines.owns(tp.topic):
            self._native.hold(tp, batch)
            return
        for start in range(0, len(batch), 100):
            self.host.live.deliver(tp, batch[start : start + 100])
            await asyncio.sleep(0)

    @hook
    def on_buffer_full(self, tp: TP) -> None:
        """Fetch no more for agents that have enough; a workflow's task goes on."""
        if not self.host.engines.owns(tp.topic):
            super().on_buffer_full(tp)

    # -- offsets: they follow the trackers, for lag and for seeking ------------------------------

    @hook
    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit offsets, but not while the group is being joined, and not after a crash.

        The broker answers one request of a connection after the other. A commit that is sent after
        a join is answered when that is through and the commit's generation is of the past; and
        aiokafka then takes the new one for invalid, and joins again, and so on without an end.
        A crash ends the consumer's thread, too, so nobody would answer, and stopping would hang.
        """
        if self._joining or self.crashed:
            return False
        done: bool = await super().commit(topics, start_new_transaction)
        return done

    @hook
    def ack(self, message: Any) -> bool:
        """Note that the agents are done with a record."""
        if not self.host.engines.owns(message.topic):
            done: bool = super().ack(message)
            return done
        message.acked = True
        self._feed.acknowledge(message.tp, message.offset)
        return True

    @hook
    def _clean_unacked_messages(self) -> None:
        # A stop would wait for these for ever. Streams skip what is of an older generation and do
        # not acknowledge it; answers to `ask` have a second reader, which reads nothing.
        super()._clean_unacked_messages()
        generation, answers = self.app.consumer_generation_id, self.app._reply_consumer._fetchers
        self._unacked_messages -= {
            each
            for each in self._unacked_messages
            if each.generation_id != generation or each.topic in answers
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
            native: int | None = super()._new_offset(tp)
            return native
        ours = self.host.engines.committed(tp)
        if ours is None or not self.app.topics.acks_enabled_for(tp.topic):
            return ours
        self._hear_acknowledged(tp)
        theirs = self._feed.lowest(tp)
        return None if theirs is None else min(ours, theirs)

    def _hear_acknowledged(self, tp: TP) -> None:
        # Faust's compiled stream notes what an agent is done with by itself, and does not call
        # `ack`. It also does so for the event that an agent is at when it is cancelled, which is
        # what stopping does: that event comes again.
        if self.app.should_stop:
            return
        self._acked_index.pop(tp, None)
        for offset in self._acked.pop(tp, ()):
            self._feed.acknowledge(tp, offset)

    @hook
    def verify_event_path(self, now: float, tp: TP) -> None:
        """Say nothing about workflow topics: Faust's alarm looks at streams that they have not."""
        if not self.host.engines.owns(tp.topic):
            super().verify_event_path(now, tp)

    # -- watching -----------------------------------------------------------------------------

    def _check_hooks(self) -> None:
        """Before the first record is taken: raise IncompatibleHost if Faust passed by a hook."""
        findings = [*uncalled(self, BEFORE_RECORDS), *self._thread.findings()]
        if findings:
            raise IncompatibleHost([f"not as it has to be: {each}" for each in findings])
        self._checked = True

    def _check_overdue(self) -> None:
        """Raise IncompatibleHost where Faust has called a hook for several commits not once."""
        due = any(self.host.assignment.owned()) and not self.app.in_recovery
        overdue = uncalled(self, SOONER_OR_LATER) if due else []
        self._overdue_looks = self._overdue_looks + 1 if overdue else 0
        if self._overdue_looks * WATCH_SECONDS > OVERDUE_COMMITS * self.commit_interval:
            raise IncompatibleHost([f"{each} is not called" for each in overdue])

    @faust.Service.task
    async def _watch(self) -> None:
        while not self.should_stop:
            await self.sleep(WATCH_SECONDS)
            await self._check_group()
            if self.flow_active and not self.app.rebalancing:
                self._check_overdue()
                await self._lost.reopen()

    async def _check_group(self) -> None:
        failure = await self._thread.group_failure()
        if isinstance(failure, InstanceTaken):
            await self.give_way(failure)
        else:
            self._refusals.note(failure)

    async def give_way(self, reason: FleetError) -> None:
        """End at once and commit nothing more: what tasks know is not theirs, or not true."""
        await self.host.assignment.assign(())
        await self.crash(reason)

    @faust.Service.task
    async def _watch_logs(self) -> None:
        try:
            await LogWatch(self.host, self.host.engines.first.clients).run()
        except FleetError as other:
            await self.give_way(other)

    @faust.Service.task
    async def _watch_progress(self) -> None:
        await Progress(self.host, self._thread.position_now, self._is_recovering).run()

    @faust.Service.task
    async def _watch_loop(self) -> None:
        # Of all engines the first, where the app carries several: the step's name tells them apart.
        await LoopWatch(self.host.engines.first.observer.loop_blocked).run()

    def _is_recovering(self) -> bool:
        # For how long is for whoever has tables of a size to know.
        return bool(self.app.in_recovery and self.app.tables)

    async def _note_reached(self) -> None:
        """Tell tasks how far they have read; only while no record is on its way to one."""
        now = self.loop.time()
        if now < self._noted + WATCH_SECONDS or not self.flow_active or self.app.rebalancing:
            return
        self._noted = now
        self.host.live.reach(await self._thread.stable_ends(self.host.live))
