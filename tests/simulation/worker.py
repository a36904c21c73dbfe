"""
A simulated worker process: the real host and engine, with this in the place of Faust's consumer.

It does what `fleet.host.consumer` does, in the same order: revoke (stop the flow, settle,
commit offsets), assign (tasks first), seek, take records.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from faust.types import TP

from fleet.config.settings import Settings
from fleet.engine.context.children import Place
from fleet.engine.ends_index import COMPLETE, INDEX
from fleet.engine.loading.guarded_store import StoreFailed
from fleet.engine.step_group import SILENT_SESSIONS, Engine
from fleet.host import consumer, record_loop, watches
from fleet.host.host import Host
from fleet.host.log_watch import LogWatch
from fleet.host.lost_tasks import LostTasks
from fleet.host.progress import Progress, Stalled
from fleet.kafka.backend import KafkaBackend
from fleet.kafka.loading import KafkaLoader
from fleet.kafka.stream import KafkaStream
from fleet.kafka.transactional_log import KafkaLog
from fleet.memory.backend import MemoryStore
from fleet.observability.gauges import GroupMetrics
from fleet.records.errors import FleetError
from fleet.records.topics import Topics
from fleet.workflow.calling.children import ChildRun
from simulation.assigning import Membership
from simulation.broker import Broker
from simulation.clients import Clients
from simulation.clocks import TRUE, Clock
from simulation.connection import Connection
from simulation.deploys import Version
from simulation.flow import Laboratory
from simulation.group import HEARTBEAT_SECONDS, SESSION_SECONDS, Group
from simulation.grown import FLOWS
from simulation.plan import Compute, Opening
from simulation.threads import SimulatedThread
from simulation.troubles import Broken, Troubles
from simulation.wire import WireProducer
from simulation.world import Loop, World

TOPICS = Topics("sim", "simulated", "main")
#: What FLEET_STALL_SECONDS is here, where something may stand still for ever.
STALL_SECONDS = 60.0
_DAY_SECONDS = 86_400
#: Chance that a store's files have everything after a write.
FLUSHES = 0.1


class Store(MemoryStore):
    """One partition's folder on a disk: what a process has not flushed goes with it."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random
        #: What is in its files: the values, the offset and its append time, the topic's id.
        self._files: tuple[dict[bytes, bytes], int, int, str] = {}, 0, 0, ""
        self.state_offset = 0
        self.appended_ms = 0
        self.open = False
        self.log_id = ""
        #: Hears of how many changes are written.
        self.on_write: Callable[[int], None] = lambda _changes: None
        #: Tells whether it breaks at an operation, and stays so.
        self.breaks: Callable[[str], bool] = lambda _operation: False
        self.broken = False
        #: Tells whether its disk is full at an operation.
        self.is_full: Callable[[str], bool] = lambda _operation: False

    def operate(self, operation: str) -> None:
        """Come before each operation; raise where it is broken."""
        self.broken = self.broken or self.breaks(operation)
        if self.broken:
            raise Broken(f"Corruption: {operation}")
        if self.is_full(operation):
            raise Broken("IO error: No space left on device: While appending to file")

    def flush(self) -> None:
        """Write to files what is in memory."""
        self._files = dict(self._values), self.state_offset, self.appended_ms, self.log_id

    def lose(self) -> None:
        """Be what the files hold: the process has died."""
        values, self.state_offset, self.appended_ms, self.log_id = self._files
        self._values.clear()
        self._values.update(values)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of *key*, or None."""
        self.operate("get")
        return super().get(key)

    def items(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the entries under *prefix*."""
        self.operate("items")
        return super().items(prefix)

    def scan(self, prefix: bytes, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return at most *limit* entries under *prefix*."""
        self.operate("scan")
        return super().scan(prefix, after, limit)

    def write(self, changes: Any, state_offset: int = 0, appended_ms: int = 0) -> None:
        """Apply changes."""
        self.operate("write")
        self.on_write(len(changes))
        super().write(changes)
        if state_offset:
            self.state_offset, self.appended_ms = state_offset, appended_ms
        if self._random.random() < FLUSHES:
            self.flush()

    def reset(self) -> None:
        """Remove everything."""
        self.operate("reset")
        self._values.clear()
        self.state_offset = 0
        self.log_id = ""
        self.flush()

    def close(self) -> None:
        """Release the folder."""
        self.flush()
        self.open = False


class Disk(dict[int, Store]):
    """A worker's data folder; it outlives the process. Another that holds the same is another."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__  # type: ignore[assignment]


class Backend:
    """See `fleet.engine.ports.Backend`."""

    failures = KafkaBackend.failures
    refusals = KafkaBackend.refusals

    def __init__(
        self,
        world: World,
        clients: Clients,
        disk: Disk,
        partitions: int,
        on_write: Callable[[int], None],
        group: Group,
        troubles: Troubles,
    ) -> None:
        self.clients: Any = clients
        self._world = world
        self._disk = disk
        self._partitions = partitions
        self._on_write = on_write
        self._group = group
        self._troubles = troubles

    async def open(self, folder: Path) -> int:
        """Return the partition count."""
        del folder
        return self._partitions

    def log(self, name: str, partition: int) -> KafkaLog:
        """Return a task's log."""
        return KafkaLog(self.clients, name, partition, TOPICS.state)

    def loader(self, partition: int) -> KafkaLoader:
        """Return a task's reader."""
        return KafkaLoader(self.clients, partition)

    def stream(self) -> KafkaStream:
        """Return the worker's stream."""
        return KafkaStream(self.clients, TOPICS)

    def store(self, partition: int) -> Store:
        """Open a partition's folder."""
        store = self._disk.get(partition)
        if store is None:
            store = self._disk[partition] = Store(Random(f"flush {self._world.now}"))
        assert not store.open, "a folder is open twice"
        if store.state_offset < 0:
            # Then all of it is thrown away, and read again from the beginning of the changelog.
            self._world.violate("a local state is nowhere in its changelog")
        store.breaks, store.is_full = self._troubles.breaks_store, self._troubles.fills_disk
        try:
            store.operate("open")
        except Broken as broken:
            raise StoreFailed("open", str(broken)) from None
        store.open = True
        store.on_write = self._on_write
        return store

    def discard(self, partition: int) -> None:
        """Remove a partition's folder."""
        assert not self._disk[partition].open, "a folder is removed that is open"
        if not self._disk[partition].broken:
            self._world.violate(f"the state of partition {partition} is removed and was whole")
        del self._disk[partition]

    async def group_offsets(
        self, _group: str, topics: Iterable[str], partition: int
    ) -> dict[str, int]:
        """Return what the group has committed."""
        await asyncio.sleep(0)
        committed = self._group.offsets
        return {each: at for each in topics if (at := committed.get(TP(each, partition), 0)) > 0}

    def workflows(self) -> "Backend":
        """Return where the workflow is that its own steps run."""
        return self

    async def find(self, _run: ChildRun) -> Place:
        """Return the one place that there is."""
        return Place(f"{TOPICS.prefix}.{TOPICS.workflow}", self._partitions)

    def monotonic(self) -> float:
        """Return the world's time."""
        return self._world.now

    def close(self) -> None:
        """Do nothing."""


class Worker:
    """One process."""

    def __init__(
        self,
        name: str,
        world: World,
        broker: Broker,
        group: Group,
        laboratory: Laboratory,
        disk: Disk,
        *,
        partitions: int,
        slots: int,
        drain_seconds: float,
        dedupe_seconds: float,
        crash_limit: int,
        compute: Compute,
        batch_records: int,
        window_bytes: int,
        version: Version | None = None,
        kind: str = "plain",
        concurrent_runs: int | None = None,
        opening: Opening,
        accept_logs: str = "",
        clock: Clock = TRUE,
    ) -> None:
        self.name = name
        #: None where all workers are of one version.
        self.version = version
        self.disk = disk
        self.loop = Loop(world, name)
        self.loop.callback_seconds = compute.callback
        self.loop.wall = lambda: clock.at(world.now)
        # What it once chose by: other histories stay as they were.
        world.random.random()
        self._compute = compute
        #: How many records of a partition it takes at once.
        self._batch_records = batch_records
        self.connection = Connection(world, self.loop, broker)
        self.ended = False
        self._world = world
        self._group = group
        self._positions: dict[TP, int] = {}
        self._generation = 0
        #: From when to when it was frozen last, in unix seconds.
        self._slept = 0.0, 0.0
        #: When its partitions were assigned, in unix seconds, and which; until the next assignment.
        self.assigned = 0.0
        self.partitions: frozenset[int] = frozenset()
        #: From when to when it has had no assignment, in unix seconds; the last is open.
        self._without: list[tuple[float, float]] = [(0.0, math.inf)]
        self._stay = asyncio.Event()
        self.stopping = False
        self._rebalancing = True
        #: When tasks were told how far they have read.
        self._noted = 0.0
        troubles = Troubles(world, name, opening)
        self.connection.on_reading, self.connection.slow = troubles.of_client, troubles.slows
        # Where computing takes no time nothing is held up, and one loop is simulated faster.
        thread = SimulatedThread(world, self.loop) if compute.callback else None
        self._clients: Any = Clients(self.connection, thread)
        backend = Backend(
            world,
            self._clients,
            disk,
            partitions,
            lambda changes: self.loop.spend(changes * compute.change),
            group,
            troubles,
        )
        settings = Settings(
            prefix=TOPICS.prefix,
            slots=slots,
            window_bytes=window_bytes,
            drain_seconds=drain_seconds,
            stall_seconds=STALL_SECONDS if opening.reader_stands else 0,
            crash_limit=crash_limit,
            dedupe_days=dedupe_seconds / _DAY_SECONDS,
            resume_days=1.5 * dedupe_seconds / _DAY_SECONDS,
            accept_logs=accept_logs,
        )
        flow = FLOWS[version.flow if version else kind]
        steps = flow(laboratory, name, lambda: self.loop.spend(compute.step))
        steps._fleet_concurrent_runs = concurrent_runs
        self.metrics = GroupMetrics(TOPICS)
        self.engine = Engine(steps, TOPICS, settings, backend, self.metrics)
        #: Hears that it cannot go on.
        self.on_refusal: Callable[[Worker, BaseException], None] = lambda _worker, failure: (
            world.violate(f"{name} gives up: {failure!r}")
        )
        self.engine.on_failure = lambda failure: self.on_refusal(self, failure)
        self.host = Host()
        self.host.engines.add(self.engine)
        self._membership = (
            Membership(name, self.host.engines.topics, fausts=version.fausts) if version else None
        )
        self._lost = LostTasks(self.host, self.loop.time)
        #: Called when it has ended itself, for its supervisor.
        self.on_end: Callable[[], None] = lambda: None
        self._tasks: list[asyncio.Task[None]] = []
        self._do(self._run())

    # -- from outside of the process ------------------------------------------------------------

    def kill(self) -> None:
        """End it without a word."""
        self.loop.kill()
        self.ended = True
        for store in self.disk.values():
            if store.open:
                store.lose()
            store.open = False

    def stop(self) -> None:
        """Ask it to stop, as SIGTERM does."""
        self._do(self._leave())

    def freeze(self, seconds: float) -> None:
        """Stop it for a while, as SIGSTOP and SIGCONT do."""
        self.loop.frozen = True
        froze = self._world.now

        def wake() -> None:
            self._world.note(self.name, "wakes")
            self.loop.frozen = False
            self._slept = froze, self._world.now

        self._world.after(seconds, wake)

    def is_rash(self, partition: int) -> bool:
        """Whether its task of *partition* has taken its id while nothing was assigned to it."""
        started = self._producer(partition)[0].started
        return any(revoked < started < assigned for revoked, assigned in self._without)

    def dies_unseen(self, partition: int) -> bool:
        """Whether its death would not be known from the state of *partition*.

        It has no mark there amid a rebalance. One that stops removes it when no step runs.
        """
        task = self.engine.tasks.get(partition)
        marked = task is not None and task._suspects._marked
        return not marked and (self._rebalancing or not self.stopping)

    def owned_since(self, partition: int) -> float | None:
        """Return since when it has a task of *partition* that could commit now, in unix seconds."""
        wire, who = self._producer(partition)
        return wire.started if self.connection.broker.is_held(*who) else None

    def is_blind(self, partition: int) -> bool:
        """Whether its task of *partition* was fenced before it last had to ask whose it is.

        It asks when partitions are assigned to it, and when it wakes after long. What is taken from
        it afterwards, as while the other tasks of an assignment take their ids, nobody can know
        before the next commit.
        """
        _, who = self._producer(partition)
        lost = self.connection.broker.lost(*who)
        froze, woke = self._slept
        overslept = woke - froze > SILENT_SESSIONS * SESSION_SECONDS
        return lost is not None and lost < max(self.assigned, woke if overslept else 0.0)

    def differs_from(self, changelog: dict[int, dict[bytes, bytes]]) -> list[bytes]:
        """Return the keys of which its local state has another value than the changelog."""
        return [
            key
            for partition, task in self.engine.tasks.items()
            # One that was fenced and has not heard of it yet keeps what it had; one whose state
            # failed may have none.
            if task.taking and self.owned_since(partition) is not None
            for key in {**self.disk[partition]._values, **changelog[partition]}
            # The index of ends is in no changelog.
            if not key.startswith(INDEX)
            and changelog[partition].get(key) != self.disk[partition]._values.get(key)
        ]

    def indexed(self) -> list[bytes]:
        """Return what its tasks have in their indexes of ends."""
        return [
            key
            for partition, task in self.engine.tasks.items()
            if task.taking and self.owned_since(partition) is not None
            for key in self.disk[partition]._values
            if key.startswith(INDEX) and key != COMPLETE
        ]

    def stop_admitting(self) -> None:
        """Let no step begin any more: the history is over."""
        for task in self.engine.tasks.values():
            # First all: a task that stops gives its places to the others.
            task.attempts.stop_admitting()
        for task in self.engine.tasks.values():
            task.attempts.stop()

    def held_bytes(self) -> int:
        """Return how much of the events it holds that are delivered and not done, in bytes."""
        return sum(
            len(event.record.value or b"")
            for task in self.engine.tasks.values()
            for events in task.inputs._open.values()
            for event in events.values()
        )

    def _producer(self, partition: int) -> tuple[WireProducer, tuple[str, int, int]]:
        """Return a task's producer, and who it is."""
        log: Any = self.engine.tasks[partition]._log
        producer = getattr(log._producer, "inside", log._producer)
        return producer._producer, tuple(producer.identity)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.call_soon(lambda: self._tasks.append(self.loop.create_task(work)))

    # -- life -----------------------------------------------------------------------------------

    async def _run(self) -> None:
        await self.host.engines.open(Path())
        loops = (
            *(self._belong(), self._take_records(), self._watch(), self._follow()),
            self._watch_logs(),
        )
        for work in loops:
            self._tasks.append(self.loop.create_task(work))
        self._tasks.append(self.loop.create_task(self._watch_progress()))

    def _position(self, tp: TP) -> int | None:
        return self._positions.get(tp)

    async def _watch_progress(self) -> None:
        """End the process where it does not get on, as Faust does with what its services raise."""
        progress = Progress(self.host, self._position, lambda: False, self._clients)
        try:
            await progress.run()
        except Stalled as stalled:
            self._world.note(self.name, f"ends: {stalled}")
            self.kill()
            self.on_end()

    async def _leave(self) -> None:
        if self.stopping:
            return
        self._world.note(self.name, "drains")
        self.stopping = True
        await self.host.drain()
        while self._rebalancing and not self.loop.dead:  # noqa: ASYNC110 - as the real one does
            await asyncio.sleep(0.05)
        await self._commit_offsets()
        await self._ask("leave", lambda: self._group.leave(self.name))
        await self.host.close()
        self._world.note(self.name, "is gone")
        self.kill()

    async def _ask(self, name: str, request: Callable[[], Any]) -> Any:
        return await self.connection.ask(name, request)

    # -- the group --------------------------------------------------------------------------------

    async def _belong(self) -> None:
        while True:
            self._rebalancing = True
            generation, assigned = await self._join()
            self._without[-1] = self._without[-1][0], self.loop.time()
            self.partitions = frozenset(tp.partition for tp in assigned if tp.topic == TOPICS.runs)
            # What it lost before has to be found out in there.
            self.assigned = self.loop.time()
            await self.host.assignment.assign(assigned)
            if not self.stopping:
                self._group.own(self.name, generation, self.engine.tasks)
            self._lost.replaced()
            offsets = await self._ask("offsets", lambda: dict(self._group.offsets))
            self._positions = {tp: offsets.get(tp, 0) for tp in assigned}
            self._generation, self._rebalancing = generation, False
            self._stay.clear()
            if self._membership is None or not self._membership.joins_again():
                await self._stay.wait()
            self._rebalancing = True
            self._world.note(self.name, "is revoked")
            self._positions = {}
            self._without.append((self.loop.time(), math.inf))
            self.host.assignment.revoked()
            await self.engine.settle(consumer.REVOKE_SECONDS)
            await self._commit_offsets()

    async def _join(self) -> tuple[int, list[TP]]:
        membership = self._membership
        if membership is None:
            generation, found = await self._ask("join", lambda: self._group.join(self.name))
            topics = sorted(self.host.engines.topics)
            return generation, [TP(topic, each) for topic in topics for each in found]
        told = membership.metadata()
        ask = partial(self._group.join, self.name, told, membership)
        generation, found = await self._ask("join", ask)
        return generation, membership.take(found)

    async def _follow(self) -> None:
        """Beat; a thread of its own does it in a real worker."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS * self._world.random.uniform(0.5, 1))
            if self._rebalancing:
                continue
            generation = self._generation
            beat = partial(self._group.heartbeat, self.name, generation)
            answer = await self._ask("heartbeat", beat)
            if answer != "ok" and generation == self._generation:
                self._stay.set()

    async def _commit_offsets(self) -> None:
        offsets = {tp: self.host.engines.committed(tp) for tp in self.host.assignment.owned()}
        known = {tp: offset for tp, offset in offsets.items() if offset is not None}
        generation = self._generation
        await self._ask("offsets", lambda: self._group.commit(self.name, generation, known))

    # -- records ----------------------------------------------------------------------------------

    async def _take_records(self) -> None:
        while True:
            await self._go_live()
            self._note_reached()
            wanted = {tp: at for tp, at in self._positions.items() if self.host.live.takes(tp)}
            if not wanted:
                # Nothing is assigned, or nothing is ready yet.
                await asyncio.sleep(consumer.UNREADY_SECONDS if self._positions else 0.3)
                continue
            ready = len(wanted) == len(self._positions)
            seconds = 0.5 if ready else consumer.UNREADY_SECONDS
            fetched = await self.connection.fetch(wanted, seconds, self._batch_records)
            tps = sorted(fetched)
            self._world.random.shuffle(tps)
            for tp in tps:
                if self._positions.get(tp) == wanted[tp]:
                    self._positions[tp] = fetched[tp][1]
                    await self._take(tp, fetched[tp][0])

    def _note_reached(self) -> None:
        now = self.loop.time()
        if self._rebalancing or now < self._noted + record_loop.REACHED_SECONDS:
            return
        self._noted = now
        self.host.live.reach(
            {
                tp: (self._positions[tp], self.connection.broker.at(tp).end)
                for tp in sorted(self.host.live)
                if tp in self._positions
            }
        )

    async def _go_live(self) -> None:
        if not self.host.live.heartbeat():
            await self.host.live.confirm()
        starting = self.host.live.starting(list(self._positions))
        self._positions |= starting
        self.host.live.begin(starting)

    async def _take(self, tp: TP, batch: list[Any]) -> None:
        size = (self._batch_records + 1) // 2
        for start in range(0, len(batch), size):
            part = batch[start : start + size]
            self.loop.spend(len(part) * self._compute.record)
            self.host.live.deliver(tp, part)
            await asyncio.sleep(0)

    async def _watch_logs(self) -> None:
        try:
            await LogWatch(self.host, self.engine.clients).run()
        except FleetError as other:
            await self.host.assignment.assign(())
            self.on_refusal(self, other)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(watches.WATCH_SECONDS)
            if self._rebalancing:
                continue
            await self._commit_offsets()
            await self._lost.reopen()
