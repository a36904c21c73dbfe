"""
A workflow on the user's own Faust app: worker and caller in one process.

Its topics carry the app's id, so its runs and a fleet's never meet; the app's consumer group reads
them.
"""

import asyncio
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from fleet.api.embedded_transport import EmbeddedTransport
from fleet.api.step_group import on_kafka
from fleet.client import unclosed_loop
from fleet.client.caller import Caller
from fleet.client.per_loop import CallersByLoop
from fleet.config import settings as configuration
from fleet.config.settings import Settings
from fleet.host import transport
from fleet.host.event_topic import EventTopics
from fleet.records.topics import Topics
from fleet.workflow.errors import WorkflowConfigurationError
from fleet.workflow.workflow import Workflow

#: The workflows that each app carries, by name. Their app holds them, and they hold their place.
_carried: WeakKeyDictionary[Any, WeakValueDictionary[str, "Embedding"]] = WeakKeyDictionary()


class AppStopped(WorkflowConfigurationError):
    """Raised when a run is started on a Faust app that ran and was stopped.

    What to do: Make a new `faust.App` for more runs, or make all runs in one `asyncio.run(main())`.
    """

    def __init__(self, workflow: str, app_id: str) -> None:
        super().__init__(
            f"the Faust app {app_id} of {workflow} was stopped, and an app runs once; make a new "
            f"`faust.App` and {workflow}(app=...), or make all runs in one `asyncio.run(main())`"
        )


class OtherCarried(WorkflowConfigurationError):
    """Raised when an app gets a workflow and carries another class under the same name.

    What to do: Restart the process or the notebook's kernel if you changed the class. Otherwise
    give one of them another name: `class Cats(Workflow, workflow="cats")`.
    """

    def __init__(self, workflow: str) -> None:
        super().__init__(
            f"the Faust app carries a workflow {workflow} of another class; if you have changed "
            "the class, restart the process or the notebook's kernel. Else name one of them: "
            "`class Cats(Workflow, workflow='cats')`"
        )


class Embedding:
    """See `fleet.workflow.running.Place`: one workflow's place on an app."""

    def __init__(self, workflow: Workflow, app: Any, timeout_seconds: float | None) -> None:
        self.workflow = workflow
        self._app = app
        self._settings = _settings(app)
        self._topics = Topics(
            f"embedded.{app.conf.id}", workflow.workflow_name, workflow.group_name
        )
        self._callers = CallersByLoop()
        carrier = transport.install(app)
        engine = on_kafka(workflow, self._topics, self._settings, self._carries)
        carrier.engines.add(engine)
        #: The workflow's events, for agents.
        self.events = EventTopics(app, engine, timeout_seconds)

    def starter(self, workflow: Workflow) -> Caller:
        """Return a caller for the running event loop; raise AppStopped."""
        name = type(workflow).__name__
        if self._app.started and self._app.should_stop:
            raise AppStopped(name, self._app.conf.id)
        return self._callers.here(name, self._caller)

    def _carries(self, workflow: str) -> bool:
        return workflow in _carried.get(self._app, {})

    def _caller(self) -> Caller:
        unclosed_loop.watch(asyncio.get_running_loop())
        connecting = EmbeddedTransport(self._app, self._topics, self._settings, self.workflow)
        caller = Caller(type(self.workflow), self._topics, connecting)
        connecting.read_for(caller)
        return caller


def place(workflow: Workflow, app: Any, timeout_seconds: float | None) -> Embedding:
    """Put *workflow* on *app*, or find its place there: a notebook's cell may run several times."""
    carried = _carried.setdefault(app, WeakValueDictionary())
    there = carried.get(workflow.workflow_name)
    if there is None:
        if app.started:
            raise transport.AppUnusable(
                "it has started already; make all its workflows before that"
            )
        there = carried[workflow.workflow_name] = Embedding(workflow, app, timeout_seconds)
    if type(there.workflow) is not type(workflow):
        raise OtherCarried(workflow.workflow_name)
    return there


def _settings(app: Any) -> Settings:
    servers = [f"{url.host}:{url.port or 9092}" for url in app.conf.broker_consumer]
    return configuration.current().model_copy(update={"broker": f"kafka://{','.join(servers)}"})
