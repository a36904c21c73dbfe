"""
Events from words: `key=value` and `key:=JSON`.

An event that declares its fields decides what a word means: text if text fits, else JSON. One that
declares none takes anything, so its words are text unless `:=` says otherwise. A guess would make a
number of the topic "2024" for some runs, and not for others.
"""

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from fleet.control import syntax
from fleet.records.errors import ExitCode, FleetError
from fleet.records.events import Event, problems
from fleet.workflow import definition
from fleet.workflow.errors import WorkflowConfigurationError
from fleet.workflow.workflow import Workflow


class UnreadableField(FleetError):
    """Raised when a word is not a field of an event.

    What to do: Write `key=value`, or `key:=JSON`.
    """

    exit_code = ExitCode.REFUSED


class FieldsRefused(FleetError):
    """Raised when the fields do not make the event.

    What to do: Give each field as `key=value`, or as `key:=JSON`. `fleet draw` shows the fields of
    each event.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, refused: object) -> None:
        super().__init__(f"{refused}; write fields as key=value, or as key:=JSON")


def start_event(workflow: type[Workflow], words: Iterable[str]) -> Event:
    """Return the start event that *words* describe.

    Raises UnreadableField and FieldsRefused, and WorkflowValidationError if the workflow itself is
    not valid.
    """
    start = definition.graph(workflow).start
    fields = _fitted(start, _read(words))
    try:
        return definition.start_event(workflow, None, fields)
    except WorkflowConfigurationError as refused:
        raise FieldsRefused(refused) from None


class UnknownEventType(FleetError):
    """Raised when a command names an event type that the workflow does not know.

    What to do: Name a type that the message lists, or import the module that declares yours in the
    module of the workflow.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, workflow: type[Workflow], name: str) -> None:
        graph = definition.graph(workflow)
        known = ", ".join(sorted(graph.accepting)) or "none"
        super().__init__(
            f"{workflow.__name__} knows no event type {name!r}; its steps take {known}, and a step "
            "may wait for another type that its module declares or imports"
        )


def event(workflow: type[Workflow], type_name: str, words: Iterable[str]) -> Event:
    """Return the event of a type by its name, with the fields that *words* describe.

    Raises UnknownEventType, UnreadableField and FieldsRefused.
    """
    kind = definition.event_type(workflow, type_name)
    if kind is None:
        raise UnknownEventType(workflow, type_name)
    try:
        return kind(**_fitted(kind, _read(words)))
    except ValidationError as failure:
        fields = ", ".join(kind.model_fields) or "(none)"
        raise FieldsRefused(
            f"no {type_name} can be made: {problems(failure)}; {type_name} has the fields {fields}"
        ) from None


def _read(words: Iterable[str]) -> dict[str, Any]:
    """Return the fields. Plain text has the type `_Text`."""
    fields: dict[str, Any] = {}
    for word in words:
        name, value = _field(word)
        if name in fields:
            raise UnreadableField(f"the field {name} is given twice; give it once")
        fields[name] = value
    return fields


class _Text(str):
    """A value from `key=value`: it may be text or JSON."""

    __slots__ = ()


def _field(word: str) -> tuple[str, Any]:
    found = syntax.assignment(word)
    if found is None:
        raise UnreadableField(
            f"{word!r} does not have the form key=value; for example, write topic=pirates, or "
            "count:=3 for a JSON value"
        )
    name, value, is_json = found
    if not is_json:
        return name, _Text(value)
    try:
        return name, syntax.json_value(value)
    except ValueError as failure:
        raise UnreadableField(
            f"the value of {word!r} is not JSON ({failure}); write {name}={value} to give it as "
            "text"
        ) from None


def _fitted(kind: type[Event], fields: dict[str, Any]) -> dict[str, Any]:
    """Read the values as JSON that *kind* does not take as text."""
    try:
        kind(**_plain(fields))
    except ValidationError as failure:
        unfit = {error["loc"][0] for error in failure.errors() if error["loc"]}
        return _plain(
            {name: _other(value) if name in unfit else value for name, value in fields.items()}
        )
    return _plain(fields)


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, _Text) else value for name, value in fields.items()
    }


def _other(value: Any) -> Any:
    """Return the JSON value of a text, or the text itself."""
    if not isinstance(value, _Text):
        return value
    try:
        return syntax.json_value(value)
    except ValueError:
        return value
