"""
A step group in this process: one task for each partition that it was assigned.

Partitions come and go with the consumer group. A task whose partition comes back stays as it is,
with its steps in flight; one whose partition went elsewhere, or whose log was lost, is closed.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fleet.config.settings import Settings
from fleet.records.errors import FleetError
from fleet.records.events import Event
from fleet.records.topics import Topics
from fleet.runtime import logs
from fleet.runtime.backend import Backend, KafkaBackend
from fleet.runtime.broker import Clients
from fleet.runtime.budget import Budgets
from fleet.runtime.gauges import GAUGES
from fleet.runtime.loading import Loader, LocalStore
from fleet.runtime.memory import stream_record
from fleet.runtime.metrics import Metrics
from fleet.runtime.pulse import Pulse
from fleet.runtime.slots import Slots
from fleet.runtime.stopping import stop_client
from fleet.runtime.task import Charter, Task
from fleet.runtime.transactions import KafkaLog
from fleet.workflow import state
from fleet.workflow.definition import Definition
from fleet.workflow.transitions import Work

_log = logs.get_logger("engine")

#: The layout of `fleet/workflow/state.py`.
STATE_VERSION = b"1"
#: A process that was silent for so many session timeouts may have lost its partitions. Heartbeats
#: are a quarter of one apart, and one of them may just have been due.
SILENT_SESSIONS = 0.5
#: How long a rebalance waits for tasks that stay to commit, in seconds.
CONFIRM_SECONDS = 2.0


class PartitionsChanged(FleetError):
    """Raised when a workflow's topics have another partition count than its state was made for."""

    def __init__(self, engine_id: str, before: int, now: int) -> None:
        super().__init__(
            f"{engine_id} has state for {before} partitions and its topics have {now}: runs would "
            "be looked for in the wrong partition. Undo the change, or move to a new FLEET_PREFIX "
            "and let the old one drain"
        )


class NewerState(FleetError):
    """Raised when the state has a layout that this version does not know."""

    def __init__(self, engine_id: str, version: str) -> None:
        super().__init__(
            f"the state of {engine_id} has layout {version} and this version of Fleet knows "
            f"{STATE_VERSION.decode()}; run the version that wrote it, or a later one"
        )


class LogShrunk(FleetError):
    """Raised when an input topic ends before the position that the state has in it."""

    def __init__(self, topic: str, partition: int, end: int, position: int) -> None:
        super().__init__(
            f"{topic}[{partition}] ends at {end} and the state has read up to {position}: the "
            "topic was made anew. Use a new FLEET_PREFIX, or delete the state topic as well"
        )


class Engine:
    """The tasks of one step group."""

    def __init__(
        self,
        workflow: Definition,
        topics: Topics,
        settings: Settings,
        backend: Backend | None = None,
    ) -> None:
        self.topics = topics
        self.settings = settings
        self.tasks: dict[int, Task] = {}
        graph = workflow.graph()
        self.metrics = Metrics(topics)
        self._backend = backend or KafkaBackend(settings, topics, graph)
        self._stream = KafkaStream(self._backend.clients, topics)
        self.charter = Charter(
            graph=graph,
            topics=topics,
            workflow=lambda: workflow,
            slots=Slots(settings.slots),
            budgets=Budgets.of(settings.window_bytes),
            stream=self._stream,
            observer=self.metrics,
            wall=self._backend.wall,
            dedupe_days=settings.dedupe_days,
            resume_days=settings.resume_days,
            pulse=Pulse(SILENT_SESSIONS * settings.session_seconds, self._backend.monotonic),
        )
        self.inputs = frozenset(self.charter.inputs)
        self.partitions = 0
        #: Hears what makes it impossible to go on; set by whoever hosts the engine.
        self.on_failure: Callable[[BaseException], object] = _raise_later
        self._loading: dict[int, asyncio.Task[None]] = {}
        self._loaders: dict[int, Loader] = {}

    async def open(self, folder: Path) -> None:
        """Check the topics and get ready for partitions; state goes below *folder*.

        Raises what `provision.ensure` raises.
        """
        self.partitions = await self._backend.open(folder)
        await self._stream.start()
        GAUGES.add(self)

    async def close(self) -> None:
        """Stop every task at once; `drain` before, to let steps finish."""
        GAUGES.remove(self)
        await asyncio.gather(*(self._close(partition) for partition in list(self.tasks)))
        await self._stream.close()
        self._backend.close()

    async def assign(self, partitions: Iterable[int]) -> None:
        """Own exactly these partitions: close the others' tasks, start new ones."""
        wanted = set(partitions)
        await self._confirm(self.tasks[each] for each in sorted(wanted & self.tasks.keys()))
        gone = [each for each, task in self.tasks.items() if each not in wanted or not task.alive]
        await asyncio.gather(*(self._close(partition) for partition in gone))
        new = wanted - self.tasks.keys()
        # All producers first: a position is only final when whoever wrote it can write no more.
        await asyncio.gather(*(self._start(partition) for partition in sorted(new)))

    async def confirm(self) -> None:
        """Let every task find out whether it still owns its partition."""
        await self._confirm(list(self.tasks.values()))

    async def _confirm(self, kept: Iterable[Task]) -> None:
        """Let tasks that stay find out whether they still own their partition.

        After a pause (SIGSTOP, a machine that was suspended) somebody else may have had it.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONFIRM_SECONDS):
                await asyncio.gather(*(task.confirm() for task in kept))
            self.charter.pulse.confirmed()

    async def drain(self, seconds: float) -> None:
        """Let running steps finish within *seconds* and commit; nothing begins any more."""
        await asyncio.gather(*(task.drain(seconds) for task in self.tasks.values()))

    async def settle(self, seconds: float) -> None:
        """Let running steps finish within *seconds* and commit; what waits stays waiting."""
        await asyncio.gather(*(task.settle(seconds) for task in self.tasks.values()))

    async def reopen(self, partition: int) -> None:
        """Start a task anew whose log was lost, where the partition is still ours."""
        task = self.tasks.get(partition)
        if task is not None and not task.alive:
            await self._close(partition)
            await self._start(partition)

    @property
    def lost(self) -> list[int]:
        """Partitions whose task is dead."""
        return [partition for partition, task in self.tasks.items() if not task.alive]

    @property
    def ready(self) -> bool:
        """Whether every assigned partition is loaded."""
        return not self._loading and not self.lost

    @property
    def loading(self) -> dict[int, int]:
        """Partitions that are being loaded, with the offsets that each has before it."""
        return {
            partition: loader.remaining if (loader := self._loaders.get(partition)) else 0
            for partition in self._loading
        }

    async def _start(self, partition: int) -> None:
        name = f"{self.topics.engine_id}-{partition}"
        log = KafkaLog(self._backend.clients, name, partition, self.topics.state)
        await log.start()
        store = self._backend.store(partition)
        task = self.tasks[partition] = Task(self.charter, partition, log, store, self._task_lost)
        self._loading[partition] = asyncio.create_task(
            self._load(task, store), name=f"load {task.name}"
        )

    async def _load(self, task: Task, store: LocalStore) -> None:
        began, silences = asyncio.get_running_loop().time(), self.charter.pulse.silences
        loader = Loader(self._backend.clients, task.partition, self._backend.wall)
        self._loaders[task.partition] = loader
        try:
            async with loader:
                records = await loader.load_state(self.topics.state, store)
                task.restore()
                self._check_partitions(task)
                await self._check_inputs(loader, task)
                position = task.frontiers[self.topics.runs].unseen
                await loader.read(self.topics.runs, position, task.deliver)
        except Exception as failure:  # noqa: BLE001 - a task that is not loaded must be seen
            self.on_failure(failure)
            return
        _log.info("task_loaded", task=task.name, records=records)
        self.metrics.loaded(asyncio.get_running_loop().time() - began)
        if self.charter.pulse.silences > silences:
            # Only tasks that take records could find out whose they are.
            self.charter.pulse.doubt()
        task.begin()
        self._loading.pop(task.partition, None)
        self._loaders.pop(task.partition, None)

    def _check_partitions(self, task: Task) -> None:
        known = task.ledger.get(state.META)
        if known is None:
            task.ledger.open.state.put(state.META, b"%b %d" % (STATE_VERSION, self.partitions))
            return
        version, count = known.split()
        if version != STATE_VERSION:
            raise NewerState(self.topics.engine_id, version.decode())
        before = int(count)
        if before != self.partitions:
            raise PartitionsChanged(self.topics.engine_id, before, self.partitions)

    async def _check_inputs(self, loader: Loader, task: Task) -> None:
        for topic, end in (await loader.ends(task.frontiers)).items():
            position = task.frontiers[topic].next
            if end < position:
                raise LogShrunk(topic, task.partition, end, position)

    async def _close(self, partition: int) -> None:
        self._loaders.pop(partition, None)
        loading = self._loading.pop(partition, None)
        if loading is not None:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
        await self.tasks.pop(partition).close()

    def _task_lost(self, task: Task, reason: BaseException) -> None:
        _log.warning("task_lost", task=task.name, reason=repr(reason))


def _raise_later(failure: BaseException) -> None:
    raise failure


class KafkaStream:
    """Stream writes of a worker: one idempotent producer, outside of all transactions."""

    def __init__(self, clients: Clients, topics: Topics) -> None:
        self._clients = clients
        self._topics = topics
        self._producer: Any = None

    async def start(self) -> None:
        """Connect."""
        self._producer = self._clients.producer(enable_idempotence=True)
        await self._producer.start()

    async def close(self) -> None:
        """Disconnect."""
        if self._producer is not None:
            await stop_client(self._producer.stop)

    async def write(self, work: Work, attempt_id: str, number: int, event: Event) -> None:
        """Append *event* to the run's partition; return when it is acknowledged."""
        assert self._producer is not None, "opened before a step can run"
        record = stream_record(self._topics, work, attempt_id, number, event)
        await self._producer.send_and_wait(
            record.topic,
            key=record.key,
            value=record.value,
            headers=record.headers,
            partition=work.record.partition,
        )
