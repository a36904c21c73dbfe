"""
`Workflow`: the class that users write, with its ways to run.

Without an app it runs in this process, on an in-memory log; with `app=` it runs on that Faust app,
worker and caller in one process. `serve` and `connect` take the same class apart.
"""

import asyncio
import weakref
from collections.abc import Callable
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary, WeakValueDictionary

from fleet.api import embedding
from fleet.client import blocking, unclosed_loop
from fleet.client.caller import Caller
from fleet.client.handler import WorkflowHandler
from fleet.config import settings
from fleet.engine.budget import Budgets
from fleet.engine.slots import Slots
from fleet.engine.task import StepGroupSettings, Task
from fleet.host import transport
from fleet.host.event_topic import EventTopics, WorkflowTopic
from fleet.memory.backend import MOST_ENDED, MemoryBroker, MemoryLog, MemoryStore, MemoryStream
from fleet.observability.metrics import Metrics
from fleet.records.events import Event
from fleet.records.log import Delivered, Outgoing
from fleet.records.topics import Topics
from fleet.workflow import arguments, call_checks, definition
from fleet.workflow.definition import DEFAULT_TIMEOUT_SECONDS, Definition, Result_co
from fleet.workflow.errors import WorkflowConfigurationError

#: Arguments that workflows have in other libraries, and what to write here.
_ELSEWHERE = {
    "disable_validation": "a graph is always checked; change what the check names",
    "num_concurrent_runs": "FLEET_SLOTS bounds how many steps a worker has in flight",
    "resource_manager": "make the resource an attribute of the class or the instance",
    "runtime": "`serve(...)` makes a worker, `connect(...)` calls one, `app=` embeds one",
    "serializer": "events travel as JSON; let fields be of types that pydantic writes",
    "skip_graph_checks": "a graph is always checked; change what the check names",
    "verbose": "set the log level: `faust -A MODULE worker -l info`",
    "workflow_name": "write it on the class: `class JokeFlow(Workflow, workflow='joke')`",
}

#: The workflows that each app carries, by name. The app holds them.
_carried: WeakKeyDictionary[Any, WeakValueDictionary[str, "Workflow"]] = WeakKeyDictionary()


class AppStopped(WorkflowConfigurationError):
    """Raised when a run is asked for on a Faust app that ran and was stopped."""

    def __init__(self, workflow: str, app_id: str) -> None:
        super().__init__(
            f"the Faust app {app_id} of {workflow} was stopped, and an app runs once; make a new "
            f"`faust.App` and {workflow}(app=...), or make all runs in one `asyncio.run(main())`"
        )


class OtherCarried(WorkflowConfigurationError):
    """Raised when an app is given a workflow whose name another class on it has."""

    def __init__(self, workflow: str) -> None:
        super().__init__(
            f"the Faust app carries a workflow {workflow} of another class; where this is that "
            "class, changed, restart the process or the notebook's kernel. Else name one of them: "
            "`class Cats(Workflow, workflow='cats')`"
        )


class NoLoop(WorkflowConfigurationError, RuntimeError):
    """Raised when a run is started where no event loop runs."""

    def __init__(self, workflow: str) -> None:
        super().__init__(
            f"no running event loop: in a script write {workflow}(...).run_sync(...); in async "
            f"code `await {workflow}(...).run(...)`"
        )


class NotInitialised(WorkflowConfigurationError):
    """Raised when a workflow is run whose own `__init__` has not called that of `Workflow`."""

    def __init__(self, workflow: str) -> None:
        super().__init__(
            f"{workflow}.__init__ has not called super().__init__(); write "
            "`super().__init__(timeout=...)` there, as its first line"
        )


class Workflow(Definition[Result_co]):
    """Base of all workflows: subclass it and mark async methods with `@step`.

    `class TimerFlow(Workflow[Judgement])` says what its runs give: a result event type (which
    `result_event_type` then need not name), or the type of a plain StopEvent's `.result`.

    `timeout` is in seconds and bounds each run; None lets a run take as long as it takes.
    """

    @arguments.checked(_ELSEWHERE)
    def __init__(self, *, timeout: float | None = DEFAULT_TIMEOUT_SECONDS, app: Any = None) -> None:
        timeout = call_checks.timeout(timeout, "a workflow's")
        definition.graph(type(self))
        self._fleet_timeout = timeout
        self._fleet_app = app
        self._fleet_embedding = _embedded(self, app, timeout) if app is not None else None
        #: Set where an app carries the workflow; see `topic`.
        self._fleet_events: EventTopics | None = (
            self._fleet_embedding.events if self._fleet_embedding else None
        )
        self._fleet_callers: WeakKeyDictionary[asyncio.AbstractEventLoop, Caller] = (
            WeakKeyDictionary()
        )

    def run(
        self,
        start_event: Event | None = None,
        /,
        *,
        run_id: str | UUID | None = None,
        timeout: float | None = None,
        **fields: Any,
    ) -> WorkflowHandler[Result_co]:
        """Start a run with a start event or its fields; return its handler at once.

        *run_id* is an idempotency key: the same id starts one run. *timeout*, in seconds, replaces
        the workflow's. Raises WorkflowConfigurationError where no start event can be made, and
        RuntimeError where no event loop runs.
        """
        event = definition.start_event(
            type(self), start_event, fields, run_id=run_id, timeout=timeout
        )
        caller = self._fleet_caller()
        handler = caller.run(event, run_id, self._fleet_timeout if timeout is None else timeout)
        # `await JokeFlow().run(...)` drops the workflow at once, and its log would go with it.
        handler.keeps = self
        return handler

    def run_sync(
        self,
        start_event: Event | None = None,
        /,
        *,
        run_id: str | UUID | None = None,
        timeout: float | None = None,
        **fields: Any,
    ) -> Result_co:
        """Make a run and return its result, in a script without an event loop; else as `run`.

        With `app=` the app is started before the run and stopped after it, so for several runs
        use `run` in one `asyncio.run(main())`. Raises LoopIsRunning where an event loop runs.
        """

        async def once() -> Result_co:
            return await self.run(start_event, run_id=run_id, timeout=timeout, **fields)

        return blocking.run(once, instead=f"await {type(self).__name__}(...).run(...)")

    def topic(self, event_type: type[Event]) -> WorkflowTopic:
        """Return the topic of *event_type*, for agents on the same app: `@app.agent(...)`, `send`.

        Raises WorkflowConfigurationError where no app carries the workflow, or no step takes such
        events.
        """
        if self._fleet_events is None:
            raise WorkflowConfigurationError(
                f"{type(self).__name__} has no topics in memory; use {type(self).__name__}(app=...)"
                f", or `app.workflow` of `app = serve({type(self).__name__})`"
            )
        return self._fleet_events.topic(event_type)

    def validate(self) -> None:
        """Check the graph; raise WorkflowValidationError with every finding."""
        definition.graph(type(self))

    def _fleet_caller(self) -> Caller:
        if "_fleet_callers" not in vars(self):
            raise NotInitialised(type(self).__name__)
        if self._fleet_app is not None and self._fleet_app.started and self._fleet_app.should_stop:
            raise AppStopped(type(self).__name__, self._fleet_app.conf.id)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise NoLoop(type(self).__name__) from None
        caller = self._fleet_callers.get(loop)
        if caller is None:
            for other in [each for each in self._fleet_callers if each.is_closed()]:
                # Its log holds it, and so both would live as long as the workflow.
                del self._fleet_callers[other]
            caller = self._fleet_callers[loop] = self._fleet_new_caller()
        return caller

    def _fleet_new_caller(self) -> Caller:
        if self._fleet_embedding is not None:
            unclosed_loop.watch(asyncio.get_running_loop())
            return self._fleet_embedding.caller()
        return _in_memory(self)


def _embedded(workflow: Workflow, app: Any, timeout: float | None) -> embedding.Embedding:
    """Put *workflow* on *app*, or find its place there: whoever runs a cell again makes it anew."""
    carried = _carried.setdefault(app, WeakValueDictionary())
    first = carried.get(workflow.workflow_name)
    if first is None:
        if app.started:
            raise transport.AppUnusable(
                "it has started already; make all its workflows before that"
            )
        place = embedding.Embedding(workflow, app, timeout)
        carried[workflow.workflow_name] = workflow
        return place
    there = first._fleet_embedding  # noqa: SLF001 - of the same class, in the file that makes it
    if type(first) is not type(workflow) or there is None:
        raise OtherCarried(workflow.workflow_name)
    return there


def _in_memory(workflow: Workflow) -> Caller:
    """Start an in-process log with a task of *workflow* on it; return its caller."""
    topics = Topics("memory", workflow.workflow_name, workflow.group_name)
    broker = MemoryBroker()
    limits = settings.current()
    step_group = StepGroupSettings(
        graph=definition.graph(type(workflow)),
        topics=topics,
        # Weakly: when nobody holds the workflow or a run of it, its log closes.
        workflow=weakref.ref(workflow),
        slots=Slots(limits.slots),
        budgets=Budgets.of(limits.window_bytes),
        stream=MemoryStream(broker, topics),
        observer=Metrics(topics),
        dedupe_days=limits.dedupe_days,
        resume_days=limits.resume_days,
        most_ended=MOST_ENDED,
        reads_at_once=True,
        forgotten=broker.forget,
    )
    caller = Caller(type(workflow), topics, _MemoryLink(broker, topics))
    task = Task(
        step_group, 0, MemoryLog(broker), MemoryStore(), lambda _, why: caller.fail_all(why)
    )
    task.restore()
    task.clock.observe({topics.runs: broker.now_ms()}, 0)
    for topic in step_group.inputs:
        broker.subscribe(topic, task.deliver, keep=topic == topics.runs)
    broker.subscribe(topics.runs, caller.take, keep=True)
    broker.subscribe(topics.stream, caller.take)
    task.begin()
    # Weakly: a loop that was closed must not live as long as the workflow.
    loop = weakref.ref(asyncio.get_running_loop())
    weakref.finalize(workflow, _close_soon, loop, weakref.ref(task))
    return caller


def _close_soon(
    loop_left: "weakref.ref[asyncio.AbstractEventLoop]", task_left: "weakref.ref[Task]"
) -> None:
    loop, task = loop_left(), task_left()
    if loop is not None and task is not None and not loop.is_closed():
        loop.call_soon_threadsafe(lambda: loop.create_task(task.close()))


class _MemoryLink:
    """The caller's side of the in-process log."""

    #: The worker is this process.
    workers = None

    def __init__(self, broker: MemoryBroker, topics: Topics) -> None:
        self._broker = broker
        self._topics = topics

    async def follow(self, run_id: str) -> None:
        """Do nothing: every record is seen."""

    def followed_from(self, run_id: str) -> int:
        """Return 0: everything was read."""
        return 0

    async def send(self, record: Outgoing, *, repeatable: bool) -> None:
        """Append one record."""
        self._broker.append(record)

    async def look_back(self, run_id: str, offset: int) -> list[Delivered]:
        """Return the run's records of `runs` from *offset* that are kept."""
        return self._broker.kept(self._topics.runs, run_id.encode(), offset)

    def when_stream_read(self, run_id: str, done: Callable[[], None], *, soon: bool) -> None:
        """Let what was appended before arrive."""
        asyncio.get_running_loop().call_soon(done)

    def unfollow(self, run_id: str) -> None:
        """Do nothing."""
