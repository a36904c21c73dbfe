"""
What you give to `run`: a start event or its fields, and the usual mistakes with them.

`run_id` and `timeout` belong to the run. A start event that declares fields of these names gets
them inside the event, so that neither is taken for the other.
"""

from typing import Any

from fleet.records.events import Event, StartEvent, type_name
from fleet.workflow.context import OfOneRun
from fleet.workflow.errors import WorkflowConfigurationError

#: Arguments of `run` that are no fields.
OF_THE_RUN = ("run_id", "timeout")


class NoStartEvent(WorkflowConfigurationError):
    """Raised when `run` gets something that does not start the workflow.

    What to do: Pass the workflow's start event or its fields: the message has its name.
    """

    def __init__(self, workflow: str, start: type[Event], given: object) -> None:
        name = type_name(start)
        if isinstance(given, type):
            said = f"{given.__name__}, a class; write run({given.__name__}(...))"
        elif isinstance(given, dict):
            said = f"a dict; write run(**fields) or run({name}(**fields))"
        elif isinstance(given, Event):
            said = f"{type(given).__name__}; see the first step's annotation"
        else:
            said = f"{type(given).__name__}; write run({name}(...)), or give its fields by name"
        super().__init__(f"{workflow} starts with {name}, not with {said}")


class NestedStartEvent(WorkflowConfigurationError):
    """Raised when you give a start event as a field of another.

    What to do: Pass the event itself: `run(Start(...))`.
    """

    def __init__(self, workflow: str, field: str, given: Event) -> None:
        name = type(given).__name__
        super().__init__(
            f"{workflow}.run({field}={name}(...)) would put one start event into another; write "
            f"run({name}(...))"
        )


class AmbiguousField(WorkflowConfigurationError):
    """Raised when an argument of `run` is also a field of the start event.

    What to do: Make the start event yourself, and pass it: `run(Start(run_id=...), run_id=...)`.
    """

    def __init__(self, workflow: str, start: type[Event], names: list[str]) -> None:
        listed = ", ".join(f"{name}=..." for name in names)
        super().__init__(
            f"{' and '.join(names)} is a field of {type_name(start)} and an argument of "
            f"{workflow}.run: write run({type_name(start)}({listed})), and the run's own argument "
            "after it"
        )


def sorted_out(
    workflow: str, start: type[Event], event: Event | None, fields: dict[str, Any]
) -> tuple[Event | None, dict[str, Any]]:
    """Return the start event and fields that you meant; raise WorkflowConfigurationError."""
    undeclared = {name: value for name, value in fields.items() if name not in start.model_fields}
    for name in ("ctx", "start_event"):
        # As with LlamaIndex Workflows: None is none.
        if name in undeclared and undeclared[name] is None:
            undeclared.pop(name)
            fields = {other: value for other, value in fields.items() if other != name}
    given = undeclared.get("start_event")
    if event is None and isinstance(given, Event):
        event, fields = given, {name: fields[name] for name in fields if name != "start_event"}
        undeclared.pop("start_event")
    for name, value in undeclared.items():
        if isinstance(value, OfOneRun):
            raise WorkflowConfigurationError(
                f"{workflow}.run takes no {name}: each run has a context of its own; put what it "
                "begins with into its start event, and read it with `handler.ctx`"
            )
        if isinstance(value, StartEvent | start):
            raise NestedStartEvent(workflow, name, value)
    return event, fields


def check_of_the_run(
    workflow: str, start: type[Event], event: Event | None, **of_the_run: object
) -> None:
    """Raise AmbiguousField if an argument of `run` may as well be a field of the start event.

    Beside a whole start event it is the run's.
    """
    given = [name for name, value in of_the_run.items() if value is not None]
    both = [name for name in given if name in start.model_fields]
    if both and event is None:
        raise AmbiguousField(workflow, start, both)


def hint(start: type[Event], fields: dict[str, Any]) -> str:
    """Return a hint about fields that `run` has taken for its own."""
    missing = [name for name in OF_THE_RUN if name in start.model_fields and name not in fields]
    if not missing:
        return ""
    listed = ", ".join(f"{name}=..." for name in missing)
    return f" (`run` takes {' and '.join(missing)} for itself: write {start.__name__}({listed}))"
