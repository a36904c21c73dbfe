"""
Faust as the host: its worker and consumer group carry our tasks.

Subclasses of Faust's transport, nothing is patched. Records of workflow topics go from the fetcher
to their task, without Faust's streams, buffers, acknowledgements and tables; everything else takes
Faust's own way. Private names of Faust and aiokafka that are used here are pinned with their exact
versions, and `check_host` looks for them at start.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import faust
from aiokafka import TopicPartition
from aiokafka.errors import ConsumerStoppedError, IllegalStateError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from fleet.records.errors import FleetError
from fleet.runtime import logs
from fleet.runtime.engine import Engine
from fleet.runtime.loading import delivered

#: How long a fetch may wait for data, in milliseconds. aiokafka has one fetch in flight per broker:
#: a partition that is not part of it gets its data only after the fetch has returned.
FETCH_WAIT_MS = 20
#: How long a rebalance is held up so that running steps can finish here, in seconds.
REVOKE_SECONDS = 2.0
#: How often lost tasks and end offsets are looked at, in seconds.
WATCH_SECONDS = 2.0
#: How long a task whose log was lost waits for a rebalance to take its partition, in seconds.
REOPEN_SECONDS = 15.0

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
        await self.host.drain()
        await super().on_stop()
        await self.host.close()

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe to the workflows' topics, too."""
        await super().subscribe(set(topics) | self.host.topics)

    # -- rebalances ---------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit what can be finished soon; Faust forgets its own acknowledgements in here."""
        self.stop_flow()
        self.host.live.clear()
        await asyncio.gather(*(engine.settle(REVOKE_SECONDS) for engine in self.host.engines))
        await self.commit()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Start tasks, their producers first, before Faust seeks to committed offsets."""
        try:
            await self.host.assign(assigned)
        except Exception as failure:  # noqa: BLE001 - Faust only logs what a listener raises
            await self.crash(failure)
            return
        await super().on_partitions_assigned(assigned, generation_id)

    # -- records ------------------------------------------------------------------------------

    async def _drain_messages(self, fetcher: Any) -> None:
        # Faust's own loop filters by read offset and knows only its streams.
        try:
            while not (self.should_stop or fetcher.should_stop):
                await self._go_live()
                await asyncio.sleep(0)
                records, _ = await self._wait_next_records(timeout=1.0)
                for tp, batch in (records or {}).items():
                    await self._take(TP(*tp), batch)
        except (ConsumerStoppedError, asyncio.CancelledError):
            if not self.app.should_stop:
                raise

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        active = active_partitions or set()
        wanted = {tp for tp in active if not self.host.owns(tp.topic) or self.host.takes(tp)}
        if len(wanted) < len(active):
            # Somebody may be ready soon.
            timeout = 0.05
        if not wanted:
            await asyncio.sleep(timeout)
            return {}
        return await super()._getmany(wanted, timeout)

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
        if self.host.owns(tp.topic):
            for start in range(0, len(batch), 100):
                self.host.deliver(tp, batch[start : start + 100])
                await asyncio.sleep(0)
        if self.app.topics._tp_index.get(tp):
            await self._take_natively(tp, batch)

    async def _take_natively(self, tp: TP, batch: list[Any]) -> None:
        for record in batch:
            message = self._to_message(tp, record)
            read = self._read_offset[tp]
            if read is not None and message.offset < read:
                continue
            if read and message.offset - read > 1 and self.app.topics.acks_enabled_for(tp.topic):
                await self._add_gap(tp, read + 1, message.offset)
            await self.wait_first(self.callback(message), self.suspend_flow.wait())
            self._read_offset[tp] = message.offset

    # -- offsets: they follow the frontiers, for lag and for seeking ------------------------------

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        yield from super()._filter_tps_with_pending_acks(topics)
        for tp in self.host.partitions():
            if tp not in self._acked and (topics is None or tp in topics or tp.topic in topics):
                yield tp

    def _new_offset(self, tp: TP) -> int | None:
        if not self.host.owns(tp.topic):
            native: int | None = super()._new_offset(tp)
            return native
        ours = self.host.committed(tp)
        if tp not in self._acked or ours is None:
            return ours
        theirs = super()._new_offset(tp)
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


class Transport(driver.Transport):
    """Faust's Kafka transport with our consumer."""

    Consumer = Consumer

    def __init__(self, *args: Any, host: Host, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.host = host


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
    expected = [
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
            ),
        ),
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
