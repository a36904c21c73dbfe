"""
`Workflow`: the class that users write, with its ways to run.

Without an app it runs in this process, on an in-memory log; with `app=` it runs on that Faust app,
worker and caller in one process. Both wait behind the port `running`. `serve` and `connect` take
the same class apart.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fleet.config import platforms
from fleet.records.events import Event
from fleet.workflow import arguments, call_checks, checks, definition, run_sync, running
from fleet.workflow.checks import Skips
from fleet.workflow.definition import DEFAULT_TIMEOUT_SECONDS, Definition, Result_co
from fleet.workflow.errors import WorkflowConfigurationError
from fleet.workflow.resources import given

if TYPE_CHECKING:
    from fleet.client.handler import WorkflowHandler
    from fleet.host.event_topic import WorkflowTopic

# Here, so that a class statement says it and not the first run.
platforms.check_here()

#: Arguments that workflows have in other libraries, and what to write here.
_ELSEWHERE = {
    "resource_manager": "give values to the workflow itself, `Flow(resources={get_db: fake})`",
    "runtime": "`serve(...)` makes a worker, `connect(...)` calls one, `app=` embeds one",
    "serializer": "events travel as JSON; let fields be of types that pydantic writes",
    "workflow_name": "write it on the class: `class JokeFlow(Workflow, workflow='joke')`",
}


#: The same for `validate`.
_NOT_CHECKED = {
    "validate_resources": "a cycle is found without calling factories; call them in a test of yours"
}


class NotInitialised(WorkflowConfigurationError):
    """Raised when a workflow's own `__init__` has not called that of `Workflow`.

    What to do: Write `super().__init__(timeout=...)` as the first line of `__init__`.
    """

    def __init__(self, workflow: str) -> None:
        super().__init__(
            f"{workflow}.__init__ has not called super().__init__(); write "
            "`super().__init__(timeout=...)` there, as its first line"
        )


class Workflow(Definition[Result_co]):
    """Base of all workflows: subclass it and mark async methods with `@step`.

    `class TimerFlow(Workflow[Judgement])` says what its runs give: a result event type, or the type
    of a plain StopEvent's `.result`. `result_event_type` need not repeat it.

    `timeout` is in seconds and bounds each run; None sets no bound. `skip_graph_checks` names
    checks that find nothing: "reachability", "terminal_event", "dead_end". If `connect` and
    commands have to know them, write them on the class: `class Flow(Workflow, skip_graph_checks=
    {"dead_end"})`. `disable_validation` skips all three. `verbose` prints what the steps do.

    `resources` has values that are used in the place of what factories make, for tests:
    `Flow(resources={get_db: FakeDatabase()})`. Fleet does not close them. For a `ResourceConfig`
    the key is its model.

    `num_concurrent_runs` is how many runs this object works on at once, and each worker of
    `serve(Flow(num_concurrent_runs=4))`. Others wait for their turn; a run's time counts from then.
    """

    _fleet_timeout: float | None
    #: Names of checks that this instance skips.
    _fleet_skipped: Skips = frozenset()
    #: Where it runs; in memory, None until its first run.
    _fleet_place: running.Place | None = None
    #: Whether the files were looked at that its resources are read from.
    _fleet_files_checked: bool = False
    #: Its events for agents, once an app carries it; see `topic`.
    _fleet_events: running.Events | None = None

    @arguments.checked(_ELSEWHERE)
    def __init__(  # noqa: PLR0913 - as many as there
        self,
        timeout: float | None = DEFAULT_TIMEOUT_SECONDS,
        disable_validation: bool = False,
        verbose: bool = False,
        *,
        app: Any = None,
        skip_graph_checks: Collection[str] | None = None,
        num_concurrent_runs: int | None = None,
        resources: Mapping[Any, Any] | None = None,
    ) -> None:
        timeout = call_checks.timeout(timeout, "a workflow's")
        self._fleet_skipped = checks.names(skip_graph_checks, "Workflow(skip_graph_checks=...)")
        definition.check(type(self), checks.CHECKS if disable_validation else self._fleet_skipped)
        self._fleet_timeout = timeout
        self._fleet_verbose = bool(verbose)
        self._fleet_concurrent_runs = call_checks.concurrent_runs(num_concurrent_runs)
        self._fleet_given = given.checked(
            resources, definition.needed(type(self)), type(self).__name__
        )
        self._fleet_files_checked = bool(disable_validation)
        if app is not None:
            check_files(self)
            self._fleet_place = running.place(self, app, timeout)
            self._fleet_events = self._fleet_place.events

    def run(
        self,
        start_event: Event | None = None,
        /,
        *,
        run_id: str | UUID | None = None,
        timeout: float | None = None,
        **fields: Any,
    ) -> "WorkflowHandler[Result_co]":
        """Start a run with a start event or its fields; return its handler at once.

        *run_id* is an idempotency key: the same id starts one run. *timeout*, in seconds, replaces
        the workflow's. Raises WorkflowConfigurationError if the fields make no start event, and
        RuntimeError without a running event loop.
        """
        event = definition.start_event(
            type(self), start_event, fields, run_id=run_id, timeout=timeout
        )
        starter = self._fleet_starter()
        limit = self._fleet_timeout if timeout is None else timeout
        # `await JokeFlow().run(...)` drops the workflow at once, and its log would go with it.
        return starter.run(event, run_id, limit, keeps=self)

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

        With `app=`, Fleet starts the app before the run and stops it after. So for several runs use
        `run` in one `asyncio.run(main())`. Raises LoopIsRunning if an event loop already runs.
        """

        async def once() -> Result_co:
            return await self.run(start_event, run_id=run_id, timeout=timeout, **fields)

        return run_sync.run(once, instead=f"await {type(self).__name__}(...).run(...)")

    def topic(self, event_type: type[Event]) -> "WorkflowTopic":
        """Return the topic of *event_type*, for agents on the same app: `@app.agent(...)`, `send`.

        Raises WorkflowConfigurationError if no app carries the workflow, or no step takes such
        events.
        """
        if self._fleet_events is None:
            raise WorkflowConfigurationError(
                f"{type(self).__name__} has no topics in memory; use {type(self).__name__}(app=...)"
                f", or `app.workflow` of `app = serve({type(self).__name__})`"
            )
        return self._fleet_events.topic(event_type)

    @arguments.checked(_NOT_CHECKED, named="validate")
    def validate(self, *, validate_resource_configs: bool = True) -> None:
        """Check the graph; raise WorkflowValidationError with every finding.

        It also reads the files of `ResourceConfig`, unless *validate_resource_configs* is false. It
        calls no factory of a `Resource`.
        """
        definition.check(type(self), self._fleet_skipped)
        if validate_resource_configs:
            definition.check_files(type(self), self._fleet_given)

    if not TYPE_CHECKING:
        # Type checkers would accept any name.

        def __getattr__(self, name: str) -> Any:
            return definition.attribute(type(self), name)

    def _fleet_starter(self) -> running.Starter:
        timeout = timeout_of(self)
        check_files(self)
        if self._fleet_place is None:
            self._fleet_place = running.place(self, None, timeout)
        return self._fleet_place.starter(self)


# Functions and not methods: a step or an attribute of a user's workflow may have these names.


def timeout_of(workflow: Workflow) -> float | None:
    """Return the time limit of its runs, in seconds; raise NotInitialised."""
    if "_fleet_timeout" not in vars(workflow):
        raise NotInitialised(type(workflow).__name__)
    return workflow._fleet_timeout  # noqa: SLF001 - the file that gives it


def check_files(workflow: Workflow) -> None:
    """Raise WorkflowValidationError if files of its resources are wrong; look at them once."""
    if not workflow._fleet_files_checked:  # noqa: SLF001 - the file that gives it
        definition.check_files(type(workflow), workflow._fleet_given)  # noqa: SLF001
        workflow._fleet_files_checked = True  # noqa: SLF001 - the file that gives it


def place_of(workflow: Workflow) -> running.Place | None:
    """Return where it runs; in memory, None before its first run."""
    return workflow._fleet_place  # noqa: SLF001 - the file that gives it


def carry(workflow: Workflow, events: running.Events) -> None:
    """Give *workflow* its topics: an app carries it now."""
    workflow._fleet_events = events  # noqa: SLF001 - the file that gives it
