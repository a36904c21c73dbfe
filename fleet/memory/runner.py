"""The worker of `await Flow().run()`: one task of a workflow on an in-process log."""

import asyncio
import weakref
from collections.abc import Callable, Iterator

from fleet.config import settings
from fleet.engine.activity import Activity
from fleet.engine.admission.budget import Budgets
from fleet.engine.admission.concurrent_runs import ConcurrentRuns
from fleet.engine.admission.slots import Slots
from fleet.engine.resources.worker_resources import WorkerResources
from fleet.engine.task import StepGroupSettings, Task
from fleet.memory.backend import MOST_ENDED, MemoryBroker, MemoryLog, MemoryStore, MemoryStream
from fleet.memory.children import InProcessWorkflows
from fleet.observability.metrics import Metrics
from fleet.records import state
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
        task = _begun(_step_group(child, of_child, broker, children), broker, on_failure)
        # With the workflow whose run it serves: others may hold the child for ever.
        if (parent := root()) is not None:
            weakref.finalize(
                parent, _close_soon, loop, weakref.ref(task), task.step_group.resources
            )

    # Weakly: a loop that was closed must not live as long as the workflow.
    root = weakref.ref(workflow)
    children = InProcessWorkflows(begin)
    children.add(root, topics)
    step_group = _step_group(workflow, topics, broker, children)
    task = _begun(step_group, broker, on_failure, keep=True, store=store)
    weakref.finalize(workflow, _close_soon, loop, weakref.ref(task), step_group.resources)
    return InProcess(task)


def _begun(
    step_group: StepGroupSettings,
    broker: MemoryBroker,
    on_failure: Callable[[BaseException], None],
    *,
    keep: bool = False,
    store: MemoryStore | None = None,
) -> Task:
    """Return a task that takes records; *keep*: callers ask again for ended runs."""
    log, topics = MemoryLog(broker), step_group.topics
    task = Task(step_group, 0, log, store or MemoryStore(), lambda _, why: on_failure(why))
    task.restore()
    task.clock.observe({topics.runs: broker.now_ms()}, 0)
    for topic in step_group.inputs:
        broker.subscribe(topic, task.intake.deliver, keep=keep and topic == topics.runs)
    task.begin()
    return task


class InProcess:
    """See `fleet.memory.transport.Worker`."""

    def __init__(self, task: Task) -> None:
        self._task = task

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
    )


def _close_soon(
    loop_left: "weakref.ref[asyncio.AbstractEventLoop]",
    task_left: "weakref.ref[Task]",
    resources: WorkerResources,
) -> None:
    loop, task = loop_left(), task_left()
    if loop is not None and not loop.is_closed():
        loop.call_soon_threadsafe(lambda: loop.create_task(_close(task, resources)))


async def _close(task: Task | None, resources: WorkerResources) -> None:
    if task is not None:
        await task.close()
    await resources.close()
