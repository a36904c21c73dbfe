"""
A step group in this process: one task for each partition that it was assigned.

Partitions come and go with the consumer group. A task whose partition comes back stays as it is,
with its steps in flight; one whose partition went elsewhere, or whose log was lost, is closed.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

from fleet.config import logs
from fleet.config.settings import Settings
from fleet.engine.activity import Activity
from fleet.engine.admission.budget import Budgets
from fleet.engine.admission.concurrent_runs import ConcurrentRuns
from fleet.engine.admission.ownership import OwnershipCheck
from fleet.engine.admission.slots import Slots
from fleet.engine.admission.suspects import Quarantine
from fleet.engine.loading.guarded_store import GuardedStore
from fleet.engine.loading.log_check import InputCheck, LogReplaced, StateLost, forget_state, remains
from fleet.engine.loading.opening import Opening, Site
from fleet.engine.loading.other_versions import unread_topics
from fleet.engine.ports import Backend, GroupObserver, Loader, TaskLog
from fleet.engine.resources.worker_resources import WorkerResources
from fleet.engine.task import StepGroupSettings, Task
from fleet.records import state
from fleet.records.errors import FleetError
from fleet.records.topics import Topics
from fleet.workflow import definition
from fleet.workflow.definition import Definition

_log = logs.get_logger("engine")

#: The layout of `fleet/records/state.py`.
STATE_VERSION = b"1"
#: A process that was silent for this many session timeouts may have lost its partitions. Heartbeats
#: are a quarter of one apart, and one of them may just have been due.
SILENT_SESSIONS = 0.5
#: How long a rebalance waits for tasks that stay to commit, in seconds.
CONFIRM_SECONDS = 2.0
#: How often the broker is asked for its time before a task begins without it.
TIME_ASKS = 10
#: How long it waits for new tasks to take their transactional ids, in seconds.
ASSIGN_SECONDS = 10.0


class PartitionsChanged(FleetError):
    """Raised when a workflow's topics have another partition count than its state was made for.

    What to do: Undo the change, or use a new `FLEET_PREFIX` and let the old workers drain.
    """

    def __init__(self, engine_id: str, before: int, now: int) -> None:
        super().__init__(
            f"{engine_id} has state for {before} partitions and its topics have {now}: runs would "
            "be looked for in the wrong partition. Undo the change, or move to a new FLEET_PREFIX "
            "and let the old one drain"
        )


class NewerState(FleetError):
    """Raised when the state has a layout that this version does not know.

    What to do: Run the version of Fleet that wrote the state, or a later one.
    """

    def __init__(self, engine_id: str, version: str) -> None:
        super().__init__(
            f"the state of {engine_id} has layout {version} and this version of Fleet knows "
            f"{STATE_VERSION.decode()}; run the version that wrote it, or a later one"
        )


class Engine:
    """The tasks of one step group."""

    def __init__(
        self,
        workflow: Definition,
        topics: Topics,
        settings: Settings,
        backend: Backend,
        observer: GroupObserver,
    ) -> None:
        self.topics = topics
        self.settings = settings
        self.tasks: dict[int, Task] = {}
        graph = definition.graph_in_use(type(workflow))
        self.observer = observer
        self._backend = backend
        self._stream = backend.stream()
        self.step_group = StepGroupSettings(
            graph=graph,
            topics=topics,
            workflow=lambda: workflow,
            slots=Slots(settings.slots),
            runs=ConcurrentRuns(definition.concurrent_runs(workflow)),
            resources=WorkerResources(definition.given_resources(workflow)),
            retry_policy=definition.retry_policy(workflow, settings),
            activity=Activity() if definition.is_verbose(workflow) else None,
            budgets=Budgets.of(settings.window_bytes),
            stream=self._stream,
            observer=observer,
            children=backend.workflows(),
            quarantine=Quarantine(settings.crash_limit),
            monotonic=self._backend.monotonic,
            dedupe_days=settings.dedupe_days,
            resume_days=settings.resume_days,
            unknown_step_hours=settings.unknown_step_hours,
            partitions=lambda: self.partitions,
            ownership=OwnershipCheck(
                SILENT_SESSIONS * settings.session_seconds, self._backend.monotonic
            ),
        )
        self.inputs = frozenset(self.step_group.inputs)
        #: The consumer group, whose offsets tell of a state that was lost; set by who hosts us.
        self.group = topics.engine_id
        #: The id of the state topic that was loaded; empty if the broker tells none.
        self.state_log_id = ""
        self.partitions = 0
        #: Is called with what ends the engine; the host sets it.
        self.on_failure: Callable[[BaseException], object] = _raise_later
        #: Partitions whose task does not take records yet.
        self.openings: dict[int, Opening] = {}
        #: Partitions that this process is to have a task of. None from the beginning of a rebalance
        #: on: no id is taken then, because another worker may have the partition already.
        self._wanted: frozenset[int] = frozenset()
        #: Tasks are begun and closed by one at a time.
        self._changing = asyncio.Lock()
        self._site = Site(
            self._backend,
            lambda partition: partition in self._wanted,
            self._make_task,
            self._load,
            observer.state_discarded,
        )

    async def open(self, folder: Path) -> None:
        """Check the topics and get ready for partitions; state goes below *folder*.

        Raises what `provision.ensure` raises.
        """
        self.partitions = await self._backend.open(folder)
        await self._stream.start()
        self.observer.opened(self)

    async def close(self) -> None:
        """Stop every task at once; `drain` before, to let steps finish."""
        self.observer.closed(self)
        self._wanted = frozenset()
        try:
            async with self._changing:
                await self._close_all(self.tasks.keys() | self.openings.keys())
        finally:
            await self.step_group.resources.close()
        await self._stream.close()
        self._backend.close()

    def assign(self, partitions: Iterable[int]) -> Coroutine[Any, Any, None]:
        """Own exactly these partitions: close the others' tasks, open new ones.

        Until it is confirmed nothing begins, from the call on and not from the first await: a turn
        of the loop later is too late where hundreds of steps are about to begin. What is awaited
        returns when each new one has taken its transactional id or has failed to, at the latest
        after ASSIGN_SECONDS: it tries on by itself then, and the others take records meanwhile.
        """
        wanted = frozenset(partitions)
        self._expect(wanted)
        return self._assign(wanted)

    async def _assign(self, wanted: frozenset[int]) -> None:
        async with self._changing:
            await self._confirm(
                self.tasks[partition] for partition in sorted(wanted & self.tasks.keys())
            )
            there = self.tasks.keys() | self.openings.keys()
            gone = {one for one in there if one not in wanted or self._is_dead(one)}
            await self._close_all(gone)
            # Of those that are still wanted: there may have been another rebalance meanwhile.
            new = sorted((wanted & self._wanted) - (there - gone))
            opened = [self._open(partition) for partition in new]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ASSIGN_SECONDS):
                await asyncio.gather(*(opening.tried.wait() for opening in opened))

    def _expect(self, wanted: frozenset[int]) -> None:
        self._wanted = wanted
        # Another worker may have had a partition since the last assignment.
        self.step_group.ownership.suspect()
        self._stop_admitting(self.tasks.keys() - wanted)

    def _stop_admitting(self, gone: Iterable[int]) -> None:
        """Let nothing begin in partitions that are another worker's now.

        At once, not when their tasks are closed: what waits there would begin as soon as the tasks
        that stay know whose they are.
        """
        for partition in gone:
            self.tasks[partition].attempts.stop()

    def revoked(self) -> None:
        """Take no transactional id until the next assignment: a rebalance begins."""
        self._wanted = frozenset()

    async def confirm(self) -> None:
        """Let every task find out whether it still owns its partition."""
        await self._confirm(list(self.tasks.values()))

    async def _confirm(self, kept: Iterable[Task]) -> None:
        """Let tasks that stay find out whether they still own their partition.

        After a pause (SIGSTOP, a machine that was suspended) another worker may have had it.
        """
        doubts = self.step_group.ownership.suspicions
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONFIRM_SECONDS):
                await asyncio.gather(*(task.confirm() for task in kept))
            self.step_group.ownership.confirm(doubts)

    async def drain(self, seconds: float) -> None:
        """Let running steps finish within *seconds* and commit; nothing begins any more."""
        await asyncio.gather(*(task.drain(seconds) for task in self.tasks.values()))

    async def settle(self, seconds: float) -> None:
        """Let running steps finish within *seconds* and commit; what waits stays waiting."""
        await asyncio.gather(*(task.settle(seconds) for task in self.tasks.values()))

    async def reopen(self, partition: int) -> None:
        """Start a task again whose log was lost, if the partition is still wanted."""
        async with self._changing:
            if partition in self._wanted and self._is_dead(partition):
                await self._close(partition)
                # A rebalance may have begun meanwhile.
                if partition in self._wanted:
                    self._open(partition)

    @property
    def lost(self) -> list[int]:
        """Partitions whose task is dead."""
        return [partition for partition, task in self.tasks.items() if not task.alive]

    @property
    def ready(self) -> bool:
        """Whether every assigned partition is loaded."""
        return not self.openings and not self.lost

    @property
    def loading(self) -> dict[int, int]:
        """Partitions that are being loaded, with the offsets that each has before it."""
        return {partition: opening.remaining for partition, opening in self.openings.items()}

    @property
    def troubles(self) -> list[str]:
        """Why partitions are not loaded that have tried in vain, each with its task's name."""
        return [
            f"{opening.name}: {opening.trouble}"
            for opening in self.openings.values()
            if opening.trouble
        ]

    def _is_dead(self, partition: int) -> bool:
        task = self.tasks.get(partition)
        return task is not None and not task.alive

    def _make_task(self, partition: int, log: TaskLog, store: GuardedStore) -> Task:
        task = self.tasks[partition] = Task(self.step_group, partition, log, store, self._task_lost)
        return task

    def _name(self, partition: int) -> str:
        return f"{self.topics.engine_id}-{partition}"

    def _open(self, partition: int) -> Opening:
        opening = Opening(
            self._site, partition, self._name(partition), self.step_group.ownership.suspicions
        )
        self.openings[partition] = opening
        opening.running = asyncio.create_task(self._opened(opening), name=f"load {opening.name}")
        return opening

    async def _opened(self, opening: Opening) -> None:
        began = asyncio.get_running_loop().time()
        try:
            task = await opening.run()
        except Exception as failure:  # noqa: BLE001 - a task that is not loaded must be seen
            opening.trouble = str(failure) or repr(failure)
            self.on_failure(failure)
            return
        finally:
            opening.tried.set()
        del self.openings[opening.partition]
        if task is not None:
            _log.info("task_loaded", task=task.name, records=opening.records)
            self.observer.loaded(asyncio.get_running_loop().time() - began)
            self._begin(task, opening)

    def _begin(self, task: Task, opening: Opening) -> None:
        if self.step_group.ownership.suspicions > opening.doubts:
            # Only tasks that take records could find out whose they are.
            self.step_group.ownership.suspect()
        try:
            task.begin()
        except Exception as failure:  # noqa: BLE001 - as any other failure of the engine
            task.broken(failure)

    async def _load(self, task: Task, loader: Loader, store: GuardedStore) -> int:
        records = await loader.load_state(self.topics.state, store, task.ask_time)
        self._check_state_log(store.log_id)
        await self._check_state(task, store)
        task.restore()
        self._check_partitions(task)
        check = InputCheck(loader, task, self.settings.accepted_logs)
        await check.run()
        task.inputs.reading.leaves_unread(await unread_topics(loader, task.ledger, self.inputs))
        position = task.trackers[self.topics.runs].unseen
        await loader.read(self.topics.runs, position, task.intake.deliver)
        await self._tell_time(task)
        task.inputs.reading.loaded(self.topics.runs)
        return records

    async def _tell_time(self, task: Task) -> None:
        """Let *task* know the broker's time before it begins anything.

        Deadlines wait for it, and what a step shows says when its attempt began. Of a record whose
        answer was lost the broker does not tell when it was appended: then it is asked again.
        """
        for _ in range(TIME_ASKS):
            if task.clock.known:
                return
            await task.ask_time()

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

    def _check_state_log(self, log_id: str) -> None:
        """Raise LogReplaced if an earlier task was loaded from another topic."""
        if self.state_log_id and log_id and self.state_log_id != log_id:
            raise LogReplaced(self.topics.state, self.state_log_id, log_id)
        self.state_log_id = log_id

    @property
    def clients(self) -> Any:
        """Makes clients of its broker."""
        return self._backend.clients

    async def _check_state(self, task: Task, store: GuardedStore) -> None:
        """Raise StateLost if there is no state and there was some."""
        if task.ledger.get(state.META) is not None:
            return
        evidence = await self._lost_state(task)
        if not evidence:
            return
        await self._check_owner(task)
        if not self.settings.accepted_logs & {store.log_id or self.topics.state}:
            raise StateLost(self.topics.state, task.partition, evidence, store.log_id)
        _log.warning("state_forgotten", task=task.name, reason=evidence)
        forget_state(task)

    async def _check_owner(self, task: Task) -> None:
        """Raise TaskLost if another worker has had the partition since this load began.

        After a pause in between, what is missed here is that worker's state.
        """
        await task.ask_time()

    async def _lost_state(self, task: Task) -> str:
        """Return what tells that there was state; empty if nothing does."""
        if remains(task):
            return "what is there is not whole"
        # No offset is committed before there is state.
        offsets = await self._backend.group_offsets(self.group, self.inputs, task.partition)
        return "; ".join(
            f"the consumer group {self.group} has read {topic}[{task.partition}] up to {offset}"
            for topic, offset in sorted(offsets.items())[:1]
        )

    async def _close_all(self, partitions: Iterable[int]) -> None:
        await asyncio.gather(*(self._close(partition) for partition in list(partitions)))

    async def _close(self, partition: int) -> None:
        opening = self.openings.pop(partition, None)
        if opening is not None and opening.running is not None:
            opening.running.cancel()
            await asyncio.gather(opening.running, return_exceptions=True)
        task = self.tasks.pop(partition, None)
        if task is not None:
            await task.close()
        if partition not in self._wanted:
            self.step_group.quarantine.gone(partition)

    def _task_lost(self, task: Task, reason: BaseException) -> None:
        if task.partition in self._wanted:
            _log.warning("task_lost", task=task.name, reason=repr(reason))
        else:
            # In a rebalance another worker may have it before this one has heard the outcome.
            _log.info("task_taken_over", task=task.name)


def _raise_later(failure: BaseException) -> None:
    raise failure
