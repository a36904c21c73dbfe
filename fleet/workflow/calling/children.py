"""
`ctx.run_workflow`: what a step asks for, checked, and what the end of the run gives it.

The step is suspended until the run has ended, and then runs again from its top. Each call that has
its run's end gives it at once.
"""

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from fleet.records.events import Event, encoded, type_name
from fleet.records.lifecycle import Lifecycle
from fleet.workflow import call_checks, definition
from fleet.workflow.calling import results
from fleet.workflow.definition import Definition
from fleet.workflow.errors import WorkflowConfigurationError

#: The object for each class that a step names, made once.
_made: WeakKeyDictionary[type[Definition], Definition] = WeakKeyDictionary()


class BadChild(WorkflowConfigurationError):
    """Raised by `ctx.run_workflow` for what cannot be run.

    What to do: Give a workflow class, or an object of it if the class takes arguments.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(f"ctx.run_workflow: {problem}")


class WaitsForItself(WorkflowConfigurationError):
    """Raised by `ctx.run_workflow` in a workflow with `num_concurrent_runs` that runs itself.

    What to do: Leave `num_concurrent_runs` away, or put what is run again into another workflow.
    """

    def __init__(self, workflow: str) -> None:
        super().__init__(
            f"{workflow} has num_concurrent_runs and runs itself: the run inside could wait for "
            "the place of the run outside for ever; leave num_concurrent_runs away, or put what is "
            "run again into a workflow of its own"
        )


class ChildRun(NamedTuple):
    """A run that a step asks for."""

    #: Runs the steps in memory; on Kafka its own workers do.
    workflow: Definition
    #: The step has named the class alone: any object of it will do.
    by_class: bool
    #: The start event: the name of its type, and its bytes.
    type: str
    value: bytes
    #: None: no limit but the parent's.
    timeout_seconds: float | None

    @property
    def name(self) -> str:
        """The workflow's name."""
        return self.workflow.workflow_name


class ChildEnd(NamedTuple):
    """How a run that a step has awaited ended."""

    run_id: str
    terminal: Lifecycle


def asked(
    workflow: type[Definition] | Definition,
    start_event: Event | None,
    fields: dict[str, Any],
    timeout_seconds: float | None,
) -> ChildRun:
    """Return a run as a step asks for it; raise WorkflowConfigurationError, UnencodableEvent."""
    by_class = isinstance(workflow, type)
    found = _object(workflow) if isinstance(workflow, type) else workflow
    if not isinstance(found, Definition):
        raise BadChild(f"it runs a workflow, not {workflow!r}; give e.g. Summarise")
    event = definition.start_event(type(found), start_event, fields)
    limit = definition.time_limit(found) if timeout_seconds is None else timeout_seconds
    seconds = call_checks.timeout(limit, "the run's")
    return ChildRun(found, by_class, type_name(event), encoded(event), seconds)


def given(run: ChildRun, end: ChildEnd) -> Any:
    """Return what the run has given; raise the error with which it ended."""
    outcome = results.of(type(run.workflow), end.terminal, end.run_id)
    if outcome.error is not None:
        raise outcome.error
    return outcome.result


def _object(kind: type[Any]) -> Definition:
    if not issubclass(kind, Definition):
        raise BadChild(f"it runs a workflow, not {kind.__name__}; let it inherit from Workflow")
    made = _made.get(kind)
    if made is None:
        try:
            made = _made[kind] = kind()
        except TypeError as missing:
            raise BadChild(
                f"{kind.__name__}() cannot be made ({missing}); give an object of it, such as "
                f"`self.child` of `child = {kind.__name__}(...)`"
            ) from None
    return made
