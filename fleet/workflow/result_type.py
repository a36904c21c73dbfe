"""
What a workflow says its result is: `class TimerFlow(Workflow[Judgement])`.

Type checkers read the type in brackets, so it has to be true. The graph compares the steps' return
types with it. The `.result` of a plain StopEvent travels as JSON and is read back as this type.
"""

import sys
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from pydantic import PydanticUserError, ValidationError, create_model
from pydantic_core import to_json

from fleet.records.events import Event, StopEvent, fields_of, problems, promise, type_name
from fleet.workflow.errors import UnfitResult
from fleet.workflow.graph import Graph


class StatedStopEvent(StopEvent):
    """Base of the StopEvents that Fleet makes from the results that workflows state."""


@dataclass(frozen=True)
class ResultType:
    """The types a result may have; Any if the class says nothing."""

    #: The type in the brackets.
    stated: Any = Any

    @cached_property
    def events(self) -> tuple[type[Event], ...]:
        """The event types among them: these come back whole."""
        return tuple(kind for kind in self._members if _is_event(kind))

    @cached_property
    def values(self) -> tuple[Any, ...]:
        """The others: types of the `.result` of a plain StopEvent."""
        return tuple(kind for kind in self._members if not _is_event(kind))

    @property
    def event_type(self) -> type[Event] | None:
        """The one event type that `result_event_type` would have named, or None."""
        return next(iter([*self._own_events, *self.events]), None)

    def __str__(self) -> str:
        return _shown(self.stated)

    def says_other_than(self, named: type[Event]) -> bool:
        """Tell whether *named* contradicts it."""
        return self.stated is not Any and named not in self.events

    def findings(self, graph: Graph) -> Iterator[str]:
        """Yield what contradicts it in *graph*."""
        if self.stated is Any:
            return
        yield from self._own_findings()
        for end in graph.results:
            if not self._covers(end):
                yield (
                    f"its result is {self}, and a step ends it with "
                    f"{type_name(end)}; write {_right(graph)}"
                )
        if self.values and StopEvent not in graph.results:
            yield (
                f"its result is {self}, and no step returns a plain StopEvent, "
                f"whose `.result` that would be; write {_right(graph)}"
            )

    def of(self, event: Event) -> Any:
        """Return what a caller gets for a result event; raise UnfitResult."""
        return event if type(event) is not StopEvent else self.read(event.result)

    def typed(self, event: StopEvent) -> Event:
        """Return a plain StopEvent with its `.result` as the type; raise UnfitResult."""
        if self._stop_event is None:
            return event
        try:
            return self._stop_event(**fields_of(event))
        except Exception as failure:  # noqa: BLE001 - the boundary: types are the user's code
            raise UnfitResult(str(self), problems(failure)) from None

    def read(self, value: Any) -> Any:
        """Return the `.result` of a plain StopEvent as its stated type; raise UnfitResult."""
        if self._stop_event is None:
            return value
        try:
            return self._stop_event.model_validate_json(to_json({"result": value})).result
        except ValidationError as failure:
            raise UnfitResult(str(self), problems(failure)) from None

    @cached_property
    def _members(self) -> tuple[Any, ...]:
        if typing.get_origin(self.stated) in {typing.Union, types.UnionType}:
            return typing.get_args(self.stated)
        return (self.stated,)

    @cached_property
    def _stop_event(self) -> type[StopEvent] | None:
        """The StopEvent whose `.result` is of the type, configured as events are."""
        if self.stated is Any or not self.values:
            return None
        of_any: Any = typing.Union[self.values]  # noqa: UP007 - types known only now
        return create_model("StopEvent", __base__=StatedStopEvent, result=(of_any, None))

    def _covers(self, result: type[Event]) -> bool:
        if result is StopEvent:
            return bool(self.values)
        return issubclass(result, self.events)

    @property
    def _own_events(self) -> list[type[Event]]:
        """Result event types that their class does not mark as such."""
        return [kind for kind in self.events if not issubclass(kind, StopEvent)]

    def _own_findings(self) -> Iterator[str]:
        own = self._own_events
        if StopEvent in self.events:
            yield (
                "its result cannot be StopEvent: of a plain StopEvent the caller gets `.result`; "
                "write the type of that, such as Workflow[str]"
            )
        if len(own) > 1:
            yield (
                f"its results {' and '.join(map(_shown, own))} cannot both end it; make them "
                "subclasses of StopEvent"
            )
        try:
            if self._stop_event is not None:
                yield from promise(self._stop_event).findings
        except PydanticUserError as unknown:
            yield (
                f"its result {self} cannot be read from JSON "
                f"({str(unknown).splitlines()[0]}); use a type that pydantic knows"
            )


def stated_by(workflow: type, root: type) -> ResultType:
    """Return what *workflow* gives its generic base *root* as the type of its result.

    Raises NameError, or another error of resolving an annotation, if it is text without a
    meaning.
    """
    argument = _argument(workflow, root)
    return ResultType(Any if isinstance(argument, TypeVar) else argument)


def _argument(klass: type, root: type) -> Any:
    """Return the argument for *root* that reaches it through the bases of *klass*."""
    for base in vars(klass).get("__orig_bases__", klass.__bases__):
        origin = typing.get_origin(base) or base
        if not issubclass(origin, root):
            continue
        given = tuple(_resolved(argument, klass) for argument in typing.get_args(base))
        parameters: tuple[Any, ...] = getattr(origin, "__parameters__", ())
        inner = parameters[0] if origin is root else _argument(origin, root)
        return _substituted(inner, dict(zip(parameters, given, strict=False)))
    return Any


def _substituted(inner: Any, given: Mapping[Any, Any]) -> Any:
    if isinstance(inner, TypeVar):
        return given.get(inner, Any)
    open_ones = getattr(inner, "__parameters__", ())
    if isinstance(inner, type) or not open_ones:
        return inner
    return inner[tuple(given.get(variable, Any) for variable in open_ones)]


def _resolved(argument: Any, klass: type) -> Any:
    """Return what a name in quotes means in the source of *klass*."""
    holder = types.SimpleNamespace(__annotations__={"result": argument})
    around = vars(sys.modules[klass.__module__]) if klass.__module__ in sys.modules else {}
    local = dict(vars(klass).get("_fleet_namespace", {}))
    hints = typing.get_type_hints(holder, globalns=dict(around), localns=local, include_extras=True)
    resolved = hints["result"]
    return None if resolved is type(None) else resolved


def _is_event(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Event)


def _right(graph: Graph) -> str:
    returned = {event for step in graph.steps for event in step.returns}
    ends = [end for end in graph.results if end in returned]
    names = [type_name(end) for end in ends if end is not StopEvent]
    plain = ["<type of .result>"] if StopEvent in ends else []
    return f"Workflow[{' | '.join(names + plain)}]"


def _shown(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)
