"""
A run from production as a test: its export goes on in this process, from its recorded answers.

No broker is there, and no call is made that the export has no answer for. So what has failed fails
the same way, as often as you like, and a breakpoint in the step stops it.
"""

import asyncio
import contextvars
import os
from collections.abc import Mapping
from typing import Any

from fleet.client.caller import Caller
from fleet.client.handler import WorkflowHandler
from fleet.config.recorded_only import RECORDED_ONLY
from fleet.memory import runner
from fleet.memory.backend import MemoryBroker, MemoryStore
from fleet.memory.transport import MemoryTransport
from fleet.records.errors import FleetError
from fleet.records.exported import workflow_class
from fleet.records.exported.run_export import RunExport
from fleet.records.exported.workflow_class import UnknownWorkflowClass
from fleet.records.log import Delivered
from fleet.records.topics import Topics
from fleet.testing import run_state
from fleet.workflow import definition
from fleet.workflow.workflow import Workflow


class ReplayOutsideLoop(FleetError, RuntimeError):
    """Raised by `replay` without a running event loop.

    What to do: Write `await replay(run)` in async code, which a script starts with `asyncio.run`.
    """

    def __init__(self) -> None:
        super().__init__(
            "replay runs in an event loop: write `await replay(run)` in async code, which a "
            "script starts with asyncio.run"
        )


def replay(
    run: str | os.PathLike[str] | Mapping[str, Any] | RunExport,
    workflow: type[Workflow] | Workflow | None = None,
    *,
    step: str | None = None,
    live: bool = False,
) -> WorkflowHandler[Any]:
    """Run what failed in a run again, in memory; return the run's handler.

    *run* is a file that `fleet runs export` wrote, or what its JSON says. Recorded steps do not run
    again. A step that failed gets the same event, context, attempt number, recorded answers and
    errors of calls, so `await replay(run)` raises what the run has failed with. If you have changed
    the code, the run goes on from there. It has no time limit.

    *workflow* is the class, or an object of it if it takes arguments; without it the class that
    wrote the run is imported. *step* runs one step again instead, on the event of its last attempt
    and with the run's last context, also of a completed run. A call without a recorded answer
    raises NoRecordedAnswer; with *live* it is made, and paid for.

    Raises NotAnExport, NotReplayable, UnknownWorkflowClass, and ReplayOutsideLoop without a
    running event loop.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise ReplayOutsideLoop from None
    export = RunExport.of(run)
    made = _made(workflow, export)
    graph = definition.graph_in_use(type(made))
    log = _Replay(export, live=live)
    return log.begin(made, run_state.of(export, graph, step, log.now_ms(), live=live))


class _Replay(MemoryBroker):
    """A log for one run, in whose tasks only recorded calls are made."""

    def __init__(self, export: RunExport, *, live: bool) -> None:
        super().__init__()
        self._export = export
        self._context = contextvars.copy_context()
        self._context.run(RECORDED_ONLY.set, not live)

    def begin(self, workflow: Workflow, store: MemoryStore) -> WorkflowHandler[Any]:
        """Run the steps of *workflow* from *store* on."""
        return self._context.run(self._begun, workflow, store)

    def _begun(self, workflow: Workflow, store: MemoryStore) -> WorkflowHandler[Any]:
        export = self._export
        topics = Topics(export.prefix, export.workflow, export.group)
        transport = MemoryTransport(self, topics)
        caller = Caller(type(workflow), topics, transport)
        worker = runner.start(workflow, topics, self, caller.fail_all, store)
        transport.start(caller.take, worker)
        return caller.attach(export.run_id, keeps=workflow).handler

    def _hand_on(self, record: Delivered) -> None:
        # What is sent from outside the replay runs steps, too.
        loop = asyncio.get_running_loop()
        for reader in self._readers[record.topic]:
            loop.call_soon(reader, record, context=self._context)


def _made(given: type[Workflow] | Workflow | None, export: RunExport) -> Workflow:
    if isinstance(given, Workflow):
        return given
    found = given or workflow_class.find(export.workflow_class, Workflow)
    try:
        return found()
    except TypeError as failure:
        raise UnknownWorkflowClass(export.workflow_class, str(failure)) from None
