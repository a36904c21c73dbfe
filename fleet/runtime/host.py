"""
Faust as the host: its worker and consumer group carry our tasks.

Subclasses of Faust's transport, nothing is patched. Records of workflow topics go from the fetcher
to their task, without Faust's streams, buffers, acknowledgements and tables; everything else takes
Faust's own way, in a loop of its own, so that an agent that does not keep up holds no workflow.
Agents that read a workflow topic have a reader beside ours (`agent_feed`). Private names of Faust
and aiokafka that are used here are pinned with their exact versions, and `check_host` looks for
them at start.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import faust
from aiokafka import TopicPartition
from aiokafka.errors import ConsumerStoppedError, IllegalStateError
from faust.transport import conductor
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from fleet.config.settings import Settings
from fleet.records.errors import FleetError
from fleet.runtime import logs
from fleet.runtime.agent_feed import AgentFeed
from fleet.runtime.engine import Engine
from fleet.runtime.loading import delivered
from fleet.runtime.native_topics import NativeTopics

#: How long a fetch may wait for data, in milliseconds. aiokafka has one fetch in flight per broker:
#: a partition that is not part of it gets its data only after the fetch has returned.
FETCH_WAIT_MS = 20
#: How long a rebalance is held up so that running steps can finish here, in seconds.
REVOKE_SECONDS = 2.0
#: How often lost tasks and end offsets are looked at, in seconds.
WATCH_SECONDS = 2.0
#: How long a task whose log was lost waits for a rebalance to take its partition, in seconds.
REOPEN_SECONDS = 15.0
#: How long a fetch leaves out partitions that are not ready for records, in seconds.
UNREADY_SECONDS = 0.05
#: How long agents may take for a batch before the next fetch goes on without them, in seconds.
HAND_OVER_SECONDS = 0.005
#: How long Faust waits for more new topics (of `ask`, of `group_by`) before it subscribes to them.
#: Its own 45 seconds are meant for agents that restart all the time. `ask` adds its topic twice,
#: 3 seconds apart, and each subscription is a rebalance.
RESUBSCRIBE_SECONDS = 4.0

_log = logs.get_logger("host")


class HostChanged(FleetError):
    """Raised when Faust or aiokafka lacks a name that the engine relies on."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(
            f"{', '.join(names)} not found: this version of Fleet needs the exact versions of "
            "faust-streaming and aiokafka that it was installed with; reinstall it"
        )


class AppUnusable(FleetError):
    """Raised when an app cannot carry a workflow any more."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"this app cannot run a workflow: {reason}")


class Host:
    """The engines of one app, and which partitions' records they take now."""

    def __init__(self) -> None:
        self.engines: list[Engine] = []
        self._by_topic: dict[str, Engine] = {}
        #: Partitions that were sought to their task's frontier since they were assigned. Only
        #: their records are taken, so a task sees every record from its frontier on.
        self.live: set[TP] = set()
        self.opened = False
        #: No task begins any more: the process is on its way out.
        self._draining = False

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
        await asyncio.gather(
            *(engine.drain(engine.settings.drain_seconds) for engine in self.engines)
        )

    async def close(self) -> None:
        """Stop every task."""
        self._draining = True
        self.live.clear()
        await asyncio.gather(*(engine.close() for engine in self.engines))

    async def assign(self, assigned: Iterable[TP]) -> None:
        """Own the workflow partitions among *assigned*."""
        self.live.clear()
        if self._draining:
            return
        assigned = list(assigned)
        await asyncio.gather(
            *(
                engine.assign({tp.partition for tp in assigned if tp.topic in engine.inputs})
                for engine in self.engines
            )
        )

    def takes(self, tp: TP) -> bool:
        """Whether records of *tp* are wanted now."""
        task = self._by_topic[tp.topic].tasks.get(tp.partition)
        return tp in self.live and task is not None and task.takes(tp.topic)

    def deliver(self, tp: TP, records: list[Any]) -> None:
        """Hand records to their task; those that are dropped will be sought back to."""
        task = self._by_topic[tp.topic].tasks.get(tp.partition)
        if tp not in self.live or task is None or not task.alive:
            self.live.discard(tp)
            return
        for record in records:
            task.deliver(delivered(record))

    def starting(self, assigned: Iterable[TP]) -> dict[TP, int]:
        """Return the partitions whose task is ready and whose records are not taken yet.

        The offset of each is where its task wants to go on.
        """
        found = {}
        for tp in assigned:
            engine = self._by_topic.get(tp.topic)
            task = engine.tasks.get(tp.partition) if engine else None
            if tp not in self.live and task is not None and task.taking:
                found[tp] = task.frontiers[tp.topic].unseen
        return found

    def partitions(self) -> Iterator[TP]:
        """Yield the partitions that tasks are there for."""
        for engine in self.engines:
            for partition in engine.tasks:
                yield from (TP(topic, partition) for topic in engine.inputs)

    def committed(self, tp: TP) -> int | None:
        """Return the frontier of *tp* as it was last committed, or None before."""
        task = self._by_topic[tp.topic].tasks.get(tp.partition)
        frontier = task.frontiers.get(tp.topic) if task is not None else None
        return (frontier.committed or None) if frontier is not None else None


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread with a consumer that reads what is committed."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        # Without tables Faust falls back to round robin, which takes a run's partitions apart.
        self._assignor = self.app.assignor
        consumer._partition_assignment_strategy = [self._assignor]
        return consumer

    async def stable_ends(self, tps: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """Return position and last stable offset of each partition, as last fetched."""
        return await self.call_thread(self._stable_ends, list(tps))  # type: ignore[no-any-return]

    async def _stable_ends(self, tps: list[TP]) -> dict[TP, tuple[int, int]]:
        assignment = self._ensure_consumer()._subscription.subscription.assignment
        found = {}
        for tp in tps:
            held = assignment.state_value(TopicPartition(*tp)) if assignment else None
            if held is not None and held.has_valid_position and held.lso is not None:
                found[tp] = held.position, held.lso
        return found


class Consumer(driver.Consumer):
    """Faust's consumer, with our tasks beside its streams."""

    transport: Any
    app: Any
    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.host: Host = self.transport.host
        self._lost_since: dict[tuple[str, int], float] = {}
        self._feed = AgentFeed(self._to_message, self.callback, self._feed_failed)
        #: Records that were fetched for agents and tables and not handed to them yet.
        self._held: dict[TP, list[Any]] = {}
        self._held_some = asyncio.Event()
        self._held_none = asyncio.Event()

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def on_start(self) -> None:
        """Check the topics before anything subscribes to them."""
        await super().on_start()
        for engine in self.host.engines:
            engine.on_failure = lambda failure: self.add_future(self.crash(failure))
        if not self.host.opened:
            await self.host.open(self.app.conf.tabledir)

    async def on_stop(self) -> None:
        """Let running steps finish, commit, then leave."""
        await self._feed.stop()
        await self.host.drain()
        await super().on_stop()
        await self.host.close()

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe to the workflows' topics, too; all of them are there afterwards."""
        native = set(topics) - self.host.topics
        await self.transport.native_topics.ensure(native, self.host.settings)
        # From here on there is no assignment until the next one, so nothing could be committed.
        await self.commit()
        await super().subscribe(native | self.host.topics)

    # -- rebalances ---------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit what can be finished soon; Faust forgets its own acknowledgements in here."""
        self.stop_flow()
        self.host.live.clear()
        await self._feed.stop()
        await asyncio.gather(*(engine.settle(REVOKE_SECONDS) for engine in self.host.engines))
        await self.commit()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Start tasks, their producers first, before Faust seeks to committed offsets."""
        self._feed.forget()
        try:
            await self.host.assign(assigned)
        except Exception as failure:  # noqa: BLE001 - Faust only logs what a listener raises
            await self.crash(failure)
            return
        await super().on_partitions_assigned(assigned, generation_id)

    async def perform_seek(self) -> None:
        """Seek to what is committed; agents of workflow topics go on from there, too.

        Faust calls this last of all, when its tables are recovered.
        """
        await super().perform_seek()
        # Tasks have been sought to their frontiers while tables were recovered: seek them again.
        self.host.live.clear()
        await self._feed.stop()
        positions = {
            tp: self._committed_offset[tp] or 0
            for tp in self.assignment()
            if self.host.owns(tp.topic) and self.app.topics._tp_index.get(tp)
        }
        self._feed.start(self.host.settings, positions)

    def _feed_failed(self, failure: BaseException) -> None:
        self.add_future(self.crash(failure))

    # -- records ------------------------------------------------------------------------------

    async def _drain_messages(self, fetcher: Any) -> None:
        # Faust's own loop filters by read offset and knows only its streams.
        agents = asyncio.create_task(self._drain_natively(), name="records of agents")
        try:
            while not (self.should_stop or fetcher.should_stop or agents.done()):
                await self._go_live()
                await asyncio.sleep(0)
                records, _ = await self._wait_next_records(timeout=1.0)
                for tp, batch in (records or {}).items():
                    await self._take(TP(*tp), batch)
                await self._handed_over()
            if agents.done():
                agents.result()
        except (ConsumerStoppedError, asyncio.CancelledError):
            if not self.app.should_stop:
                raise
        finally:
            agents.cancel()
            await asyncio.gather(agents, return_exceptions=True)
            self._held.clear()

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
        return self.host.takes(tp) if self.host.owns(tp.topic) else tp not in self._held

    async def _go_live(self) -> None:
        if not self.flow_active:
            return
        starting = self.host.starting(self.assignment())
        if not starting:
            return
        try:
            await self._thread.seek_wait(starting)
        except (IllegalStateError, AssertionError, TimeoutError):
            # Revoked in between; whoever is assigned next seeks again.
            return
        self.host.live.update(starting)

    async def _take(self, tp: TP, batch: list[Any]) -> None:
        if not self.host.owns(tp.topic):
            self._held[tp] = [self._to_message(tp, record) for record in batch]
            self._held_some.set()
            return
        for start in range(0, len(batch), 100):
            self.host.deliver(tp, batch[start : start + 100])
            await asyncio.sleep(0)

    async def _handed_over(self) -> None:
        """Give agents a moment for what was fetched, so that the next fetch is for them, too."""
        if self._held:
            self._held_none.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._held_none.wait(), HAND_OVER_SECONDS)

    async def _drain_natively(self) -> None:
        while True:
            await self._held_some.wait()
            self._held_some.clear()
            while self._held:
                tp = next(iter(self._held))
                await self._hand_natively(tp, self._held[tp])
                self._held.pop(tp, None)
            self._held_none.set()

    async def _hand_natively(self, tp: TP, messages: list[Any]) -> None:
        """Hand records to Faust's streams, in the way of its own loop."""
        self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
        for message in messages:
            if not self.flow_active or message.generation_id != self.app.consumer_generation_id:
                # Sought back to after the rebalance. With what is older, Faust would take the
                # records in between for a gap, and gaps for acknowledged.
                return
            read = self._read_offset[tp]
            if read is not None and message.offset < read:
                continue
            if read and message.offset - read > 1 and self.app.topics.acks_enabled_for(tp.topic):
                await self._add_gap(tp, read + 1, message.offset)
            await self.wait_first(self.callback(message), self.suspend_flow.wait())
            self._read_offset[tp] = message.offset

    def on_buffer_full(self, tp: TP) -> None:
        """Fetch no more for agents that have enough; a workflow's task goes on."""
        if not self.host.owns(tp.topic):
            super().on_buffer_full(tp)

    # -- offsets: they follow the frontiers, for lag and for seeking ------------------------------

    def ack(self, message: Any) -> bool:
        """Note that the agents are done with a record."""
        if not self.host.owns(message.topic):
            done: bool = super().ack(message)
            return done
        message.acked = True
        self._feed.acknowledge(message.tp, message.offset)
        return True

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

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        yield from super()._filter_tps_with_pending_acks(topics)
        for tp in self.host.partitions():
            if topics is None or tp in topics or tp.topic in topics:
                yield tp

    def _new_offset(self, tp: TP) -> int | None:
        if not self.host.owns(tp.topic):
            native: int | None = super()._new_offset(tp)
            return native
        ours = self.host.committed(tp)
        if ours is None or not self.app.topics.acks_enabled_for(tp.topic):
            return ours
        theirs = self._feed.lowest(tp)
        return None if theirs is None else min(ours, theirs)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Say nothing about workflow topics: Faust's alarm looks at streams that they have not."""
        if not self.host.owns(tp.topic):
            super().verify_event_path(now, tp)

    # -- watching -----------------------------------------------------------------------------

    @faust.Service.task
    async def _watch(self) -> None:
        while not self.should_stop:
            await self.sleep(WATCH_SECONDS)
            if self.flow_active and not self.app.rebalancing:
                await self._note_caught_up()
                await self._reopen_lost()

    async def _note_caught_up(self) -> None:
        ends: Mapping[TP, tuple[int, int]] = await self._thread.stable_ends(self.host.live)
        for tp, (position, stable_end) in ends.items():
            task = self.host._by_topic[tp.topic].tasks.get(tp.partition)
            if task is not None and position >= stable_end:
                task.caught_up(tp.topic)

    async def _reopen_lost(self) -> None:
        """Start lost tasks anew, once a newer owner would have made itself known.

        A task is lost because somebody else owns the partition, which a rebalance tells soon, or
        because the broker gave up on a transaction. Only the second is ours to mend.
        """
        now = self.loop.time()
        for engine in self.host.engines:
            for partition in engine.lost:
                since = self._lost_since.setdefault((engine.topics.engine_id, partition), now)
                if now - since > REOPEN_SECONDS:
                    del self._lost_since[engine.topics.engine_id, partition]
                    self.host.live = {tp for tp in self.host.live if tp.partition != partition}
                    await engine.reopen(partition)


class Producer(driver.Producer):
    """Faust's producer, for topics that are there."""

    transport: Any

    async def send(self, topic: str, *args: Any, **kwargs: Any) -> Any:
        """Send as Faust does; see `NativeTopics.ensure` for what is raised."""
        await self._ensure_topic(topic)
        return await super().send(topic, *args, **kwargs)

    async def send_and_wait(self, topic: str, *args: Any, **kwargs: Any) -> Any:
        """Send as Faust does, and return when it is acknowledged."""
        await self._ensure_topic(topic)
        return await super().send_and_wait(topic, *args, **kwargs)

    async def _ensure_topic(self, topic: str) -> None:
        transport = self.transport
        if not transport.native_topics.knows(topic) and not transport.host.owns(topic):
            await transport.native_topics.ensure([topic], transport.host.settings)


class Conductor(conductor.Conductor):
    """Faust's conductor, which subscribes to new topics sooner."""

    _resubscribe_sleep_lock_seconds = RESUBSCRIBE_SECONDS


class Transport(driver.Transport):
    """Faust's Kafka transport with our consumer."""

    Consumer = Consumer
    Producer = Producer
    Conductor = Conductor

    def __init__(self, *args: Any, host: Host, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.host = host
        self.native_topics = NativeTopics(self.app)


def install(app: Any) -> Host:
    """Put a host under a plain `faust.App`, or return the one that is there.

    Raises AppUnusable where the app has begun to use another transport.
    """
    current = app._transport
    if isinstance(current, Transport):
        return current.host
    if app._consumer is not None or app.started:
        raise AppUnusable(
            "it has started already; make the workflow with app=... before the app starts"
        )
    urls = app.conf.broker_consumer
    if urls[0].scheme not in ("kafka", "aiokafka"):
        raise AppUnusable(f"its broker is {urls[0]}; use kafka://")
    check_host()
    host = Host()
    app.transport = Transport(urls, app, host=host)
    return host


def check_host() -> None:
    """Raise HostChanged where a private name that is overridden or used is not there."""
    expected: list[tuple[type, tuple[str, ...]]] = [
        (driver.AIOKafkaConsumerThread, ("_create_worker_consumer", "seek_wait", "call_thread")),
        (
            driver.Consumer,
            (
                "_new_consumer_thread",
                "_drain_messages",
                "_getmany",
                "_wait_next_records",
                "_filter_tps_with_pending_acks",
                "_new_offset",
                "_to_message",
                "_add_gap",
                "perform_seek",
                "on_buffer_full",
                "ack",
                "_clean_unacked_messages",
            ),
        ),
        (driver.Producer, ("send", "send_and_wait")),
        (conductor.Conductor, ("_resubscribe_sleep_lock_seconds", "acks_enabled_for")),
        (faust.App, ("_new_transport",)),
    ]
    missing = [
        f"{owner.__name__}.{name}"
        for owner, names in expected
        for name in names
        if not hasattr(owner, name)
    ]
    if missing:
        raise HostChanged(missing)
