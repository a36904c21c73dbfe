"""
`Workflow`: the class that users write, with its ways to run.

Without an app it runs in this process, on an in-memory log; with `app=` it runs on that Faust app,
worker and caller in one process. `serve` and `connect` take the same class apart.
"""

import asyncio
import weakref
from typing import Any
from weakref import WeakKeyDictionary

from fleet.config import settings
from fleet.records.events import Event
from fleet.records.log import Outgoing
from fleet.records.topics import Topics
from fleet.runtime import embedding
from fleet.runtime.caller import Caller
from fleet.runtime.handler import WorkflowHandler
from fleet.runtime.memory import MemoryBroker, MemoryLog, MemoryStore, MemoryStream
from fleet.runtime.metrics import Metrics
from fleet.runtime.task import Charter, Task
from fleet.workflow.definition import Definition
from fleet.workflow.errors import WorkflowConfigurationError

#: How long a run may take where the workflow is made without `timeout=`, in seconds.
DEFAULT_TIMEOUT_SECONDS = 45.0


class Workflow(Definition):
    """Base of all workflows: subclass it and mark async methods with `@step`.

    `timeout` is in seconds and bounds each run; None lets a run take as long as it takes.
    """

    def __init__(self, *, timeout: float | None = DEFAULT_TIMEOUT_SECONDS, app: Any = None) -> None:
        if timeout is not None and timeout <= 0:
            raise WorkflowConfigurationError(
                f"a workflow's timeout is a number of seconds greater than 0, not {timeout!r}; "
                "use None for no limit"
            )
        self.graph()
        self.timeout = timeout
        self.app = app
        self._embedding = embedding.Embedding(self, app) if app is not None else None
        self._callers: WeakKeyDictionary[asyncio.AbstractEventLoop, Caller] = WeakKeyDictionary()

    def run(
        self,
        start_event: Event | None = None,
        /,
        *,
        run_id: str | None = None,
        timeout: float | None = None,
        **fields: Any,
    ) -> WorkflowHandler:
        """Start a run with a start event or its fields; return its handler at once.

        *run_id* is an idempotency key: the same id starts one run. *timeout*, in seconds, replaces
        the workflow's. Raises WorkflowConfigurationError where no start event can be made, and
        RuntimeError where no event loop runs.
        """
        event = self.make_start_event(start_event, fields)
        limit = self.timeout if timeout is None else timeout
        handler = self._caller().run(event, run_id, limit)
        # `await JokeFlow().run(...)` drops the workflow at once, and its log would go with it.
        handler.keeps = self
        return handler

    def validate(self) -> None:
        """Check the graph; raise WorkflowValidationError with every finding."""
        self.graph()

    def _caller(self) -> Caller:
        loop = asyncio.get_running_loop()
        caller = self._callers.get(loop)
        if caller is None:
            caller = self._callers[loop] = self._new_caller()
        return caller

    def _new_caller(self) -> Caller:
        if self._embedding is not None:
            return self._embedding.caller()
        return _in_memory(self)


def _in_memory(workflow: Workflow) -> Caller:
    """Start an in-process log with a task of *workflow* on it; return its caller."""
    topics = Topics("memory", workflow.workflow_name, workflow.group_name)
    broker = MemoryBroker()
    limits = settings.current()
    charter = Charter(
        graph=workflow.graph(),
        topics=topics,
        # Weakly: when nobody holds the workflow or a run of it, its log closes.
        workflow=weakref.ref(workflow),
        slots=asyncio.Semaphore(limits.slots),
        stream=MemoryStream(broker, topics),
        observer=Metrics(topics),
        dedupe_days=limits.dedupe_days,
        resume_days=limits.resume_days,
    )
    caller = Caller(type(workflow), topics, _MemoryLink(broker, topics))
    task = Task(charter, 0, MemoryLog(broker), MemoryStore(), lambda _, why: caller.fail_all(why))
    task.restore()
    for topic in charter.inputs:
        broker.subscribe(topic, task.deliver, keep=topic == topics.runs)
    broker.subscribe(topics.runs, caller.take, keep=True)
    broker.subscribe(topics.stream, caller.take)
    task.begin()
    weakref.finalize(workflow, _close_soon, asyncio.get_running_loop(), task)
    return caller


def _close_soon(loop: asyncio.AbstractEventLoop, task: Task) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(lambda: loop.create_task(task.close()))


class _MemoryLink:
    """The caller's side of the in-process log."""

    def __init__(self, broker: MemoryBroker, topics: Topics) -> None:
        self._broker = broker
        self._topics = topics

    async def follow(self, run_id: str) -> None:
        """Do nothing: every record is seen."""

    def followed_from(self, run_id: str) -> int:
        """Return 0: everything was read."""
        return 0

    async def send(self, record: Outgoing) -> None:
        """Append one record."""
        self._broker.append(record)

    async def rewind(self, run_id: str, offset: int) -> None:
        """Hand on the kept records of `runs` from *offset*."""
        self._broker.replay(self._topics.runs, offset)

    async def stream_read(self, run_id: str) -> None:
        """Let what was appended before arrive."""
        await asyncio.sleep(0)

    def unfollow(self, run_id: str) -> None:
        """Do nothing."""
