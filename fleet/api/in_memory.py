"""A workflow without an app: worker and caller in this process, on a log that ends with it."""

from functools import partial

from fleet.client.caller import Caller
from fleet.client.per_loop import CallersByLoop
from fleet.memory import runner
from fleet.memory.backend import MemoryBroker
from fleet.memory.transport import MemoryTransport
from fleet.records.topics import Topics
from fleet.workflow.workflow import Workflow


class InMemory:
    """See `fleet.workflow.running.Place`."""

    #: Agents need an app.
    events = None

    def __init__(self) -> None:
        self._callers = CallersByLoop()

    def starter(self, workflow: Workflow) -> Caller:
        """Return a caller for the running event loop."""
        return self._callers.here(type(workflow).__name__, partial(_started, workflow))


def _started(workflow: Workflow) -> Caller:
    """Start an in-process log with a task of *workflow* on it; return its caller."""
    topics = Topics("memory", workflow.workflow_name, workflow.group_name)
    broker = MemoryBroker()
    transport = MemoryTransport(broker, topics)
    caller = Caller(type(workflow), topics, transport)
    worker = runner.start(workflow, topics, broker, caller.fail_all)
    transport.start(caller.take, worker)
    return caller
