"""The worker of `await Flow().run()`: one task of a workflow on an in-process log."""

import asyncio
import weakref
from collections.abc import Callable, Iterator

from fleet.config import settings
from fleet.engine import inputs
from fleet.engine.activity import Activity
from fleet.engine.admission.budget import Budgets
from fleet.engine.admission.concurrent_runs import ConcurrentRuns
from fleet.engine.admission.slots import Slots
from fleet.engine.resources.worker_resources import WorkerResources
from fleet.engine.task import StepGroupSettings, Task
from fleet.memory.backend import (
    KEPT_STREAM_BYTES,
    MOST_ENDED,
    MemoryBroker,
    MemoryLog,
    MemoryStore,
    MemoryStream,
    loop_seconds,
)
from fleet.memory.children import InProcessWorkflows
from fleet.observability.metrics import Metrics
from fleet.records import state
from fleet.records.log import Delivered
from fleet.records.topics import Topics
from fleet.workflow import definition
from fleet.workflow.definition import Definition


def start(
    workflow: Definition,
    topics: Topics,
    broker: MemoryBroker,
    on_failure: Callable[[BaseException], None],
    store: MemoryStore | None = None,
) -> "InProcess":
    """Run the steps of *workflow* on *broker* for as long as the workflow object lives.

    Its handlers keep it alive. A task that cannot go on gives its error to *on_failure*. With
    *store* it goes on from that state.
    """
    loop = weakref.ref(asyncio.get_running_loop())

    def begin(child: Definition, of_child: Topics) -> None:
        step_group = _step_group(child, of_child, broker, children)
        beside = InProcess(step_group, broker, MemoryStore(), on_failure)
        worker.beside.append(beside)
        # With the workflow whose run it serves: others may hold the child for ever.
        if (parent := root()) is not None:
            weakref.finalize(parent, _close_soon, loop, weakref.ref(beside), step_group.resources)

    # Weakly: a loop that was closed must not live as long as the workflow.
    root = weakref.ref(workflow)
    children = InProcessWorkflows(begin)
    children.add(root, topics)
    step_group = _step_group(workflow, topics, broker, children)
    # Callers of the root ask again for ended runs, and read streams again.
    broker.keep(topics.runs)
    broker.keep(topics.stream, KEPT_STREAM_BYTES)
    worker = InProcess(step_group, broker, store or MemoryStore(), on_failure)
    weakref.finalize(workflow, _close_soon, loop, weakref.ref(worker), step_group.resources)
    return worker


class InProcess:
    """See `fleet.memory.transport.Worker`."""

    def __init__(
        self,
        step_group: StepGroupSettings,
        broker: MemoryBroker,
        store: MemoryStore,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        #: The workers of workflows that its steps run.
        self.beside: list[InProcess] = []
        self._step_group = step_group
        self._broker = broker
        self._on_failure = on_failure
        self._store = store
        #: What is delivered next to the task that takes over; None unless one does.
        self._held: list[Delivered] | None = None
        self._task = self._loaded()
        for topic in step_group.inputs:
            broker.subscribe(topic, self._deliver)
        self._task.begin()

    async def crash(self) -> None:
        """End as a process that is killed, and let another take over what it has committed.

        Steps in flight are stopped, and run again there.
        """
        await asyncio.gather(self._crash(), *(worker.crash() for worker in self.beside))

    async def _crash(self) -> None:
        while not _is_committed(self._task):
            await self._task.commits.finish()
        if self._held is not None:
            return
        self._held = inputs.open_records(self._task.inputs)
        await self._task.close()
        self._task = self._loaded()
        held, self._held = self._held, None
        self._task.begin()
        for record in held:
            self._task.intake.deliver(record)

    async def close(self) -> None:
        """Stop everything."""
        await self._task.close()

    def run_entries(self, run_id: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield what is committed of a run: whether it goes on, and its context."""
        store = self._task.ledger.store
        for key in (state.run_key(run_id), state.seen_key(run_id), state.end_key(run_id)):
            value = store.get(key)
            if value is not None:
                yield key, value
        yield from store.items(state.context_prefix(run_id))

    def running_steps(self, run_id: str) -> set[str]:
        """Return the names of a run's steps that run now."""
        return self._task.attempts.active_steps(run_id)

    def _loaded(self) -> Task:
        log, runs = MemoryLog(self._broker), self._step_group.topics.runs
        task = Task(self._step_group, 0, log, self._store, lambda _, why: self._on_failure(why))
        task.restore()
        task.clock.observe({runs: self._broker.now_ms()}, 0)
        return task

    def _deliver(self, record: Delivered) -> None:
        if self._held is None:
            self._task.intake.deliver(record)
        else:
            self._held.append(record)


def _is_committed(task: Task) -> bool:
    """Tell whether all that a task has decided is in the log."""
    draft = task.ledger.open
    moved = any(tracker.dirty for tracker in task.trackers.values())
    return task.ledger.sealed is None and not (draft.records or draft.state.changes or moved)


def _step_group(
    workflow: Definition, topics: Topics, broker: MemoryBroker, children: InProcessWorkflows
) -> StepGroupSettings:
    limits = settings.current()
    return StepGroupSettings(
        graph=definition.graph_in_use(type(workflow)),
        topics=topics,
        # Weakly: the log closes when the workflow and its handlers are gone.
        workflow=weakref.ref(workflow),
        slots=Slots(limits.slots),
        runs=ConcurrentRuns(definition.concurrent_runs(workflow)),
        resources=WorkerResources(definition.given_resources(workflow)),
        retry_policy=definition.retry_policy(workflow, limits),
        activity=Activity() if definition.is_verbose(workflow) else None,
        budgets=Budgets.of(limits.window_bytes),
        stream=MemoryStream(broker, topics),
        children=children,
        observer=Metrics(topics),
        dedupe_days=limits.dedupe_days,
        resume_days=limits.resume_days,
        most_ended=MOST_ENDED,
        reads_at_once=True,
        forgotten=broker.forget,
        monotonic=loop_seconds,
    )


def _close_soon(
    loop_left: "weakref.ref[asyncio.AbstractEventLoop]",
    worker_left: "weakref.ref[InProcess]",
    resources: WorkerResources,
) -> None:
    loop, worker = loop_left(), worker_left()
    if loop is not None and not loop.is_closed():
        loop.call_soon_threadsafe(lambda: loop.create_task(_close(worker, resources)))


async def _close(worker: InProcess | None, resources: WorkerResources) -> None:
    if worker is not None:
        await worker.close()
    await resources.close()
