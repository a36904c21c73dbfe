"""A workflow without an app: worker and caller in this process, on a log that ends with it."""

import asyncio
import weakref
from functools import partial
from weakref import WeakKeyDictionary

from fleet.client.caller import Caller
from fleet.client.per_loop import CallersByLoop
from fleet.memory import runner
from fleet.memory.backend import MemoryBroker
from fleet.memory.runner import InProcess
from fleet.memory.transport import MemoryTransport
from fleet.records.topics import Topics
from fleet.workflow.workflow import Workflow


class InMemory:
    """See `fleet.workflow.running.Place`."""

    #: Agents need an app.
    events = None

    def __init__(self) -> None:
        self._callers = CallersByLoop()
        #: Weakly, as the callers hold them.
        self._workers: WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[InProcess]] = (
            WeakKeyDictionary()
        )

    def starter(self, workflow: Workflow) -> Caller:
        """Return a caller for the running event loop."""
        return self._callers.here(type(workflow).__name__, partial(self._started, workflow))

    def worker(self) -> InProcess | None:
        """Return what runs the steps in the running event loop; None before its first run."""
        worker = self._workers.get(asyncio.get_running_loop())
        return None if worker is None else worker()

    def _started(self, workflow: Workflow) -> Caller:
        caller, worker = _started(workflow)
        self._workers[asyncio.get_running_loop()] = weakref.ref(worker)
        return caller


def _started(workflow: Workflow) -> tuple[Caller, InProcess]:
    """Start an in-process log with a worker of *workflow* on it; return its caller, too."""
    topics = Topics("memory", workflow.workflow_name, workflow.group_name)
    broker = MemoryBroker()
    transport = MemoryTransport(broker, topics)
    caller = Caller(type(workflow), topics, transport)
    worker = runner.start(workflow, topics, broker, caller.fail_all)
    transport.start(caller.take, worker)
    return caller, worker
