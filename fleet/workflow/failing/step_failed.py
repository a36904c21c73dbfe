"""
`StepFailedEvent`: what a step with `@catch_error` gets.

On its way it is JSON, as any other event. The exception travels as data. The event that the step
failed on travels as its own JSON beside its type's name, and is of that type again if this process
has it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

from pydantic import (
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializationInfo,
    ValidationInfo,
)
from pydantic_core import core_schema, from_json, to_json

from fleet.records.clear_text import OnTheWire
from fleet.records.events import Event, decoded, encoded, subclasses, type_name
from fleet.records.lifecycle import Failure
from fleet.workflow.failing import exceptions


class _Unreadable(ValueError):
    """Says why something is no event."""


class _Travels(ABC):
    """A field whose value is another one in JSON."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(
            self.read,
            serialization=core_schema.plain_serializer_function_ser_schema(
                self.write, info_arg=True, when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "object"}

    @abstractmethod
    def read(self, value: Any, info: ValidationInfo) -> Any:
        """Return the value; raise ValueError if it is none."""

    @abstractmethod
    def write(self, value: Any, info: SerializationInfo) -> Any:
        """Return what JSON has of the value."""


class _AnyEvent(_Travels):
    """An event of whatever type."""

    def read(self, value: Any, info: ValidationInfo) -> Event:
        if isinstance(value, Event):
            return value
        if not isinstance(value, dict):
            raise _Unreadable("it is no event")
        if "events" in value:
            return JoinedEvents.model_validate(value, context=info.context)
        name, module, fields = value.get("type"), value.get("module"), value.get("event")
        if not isinstance(name, str) or not isinstance(fields, dict):
            raise _Unreadable("it has no type and no event")
        return decoded(_type(name, module, info.context), to_json(fields), info.context)

    def write(self, value: Event, info: SerializationInfo) -> dict[str, Any]:
        if isinstance(value, JoinedEvents):
            events = [self.write(one, info) for one in value.events]
            return {"events": events, "left_out": value.left_out}
        # Elsewhere than on the wire, as in a log, secrets stay masked.
        on_the_wire = isinstance(info.context, OnTheWire)
        fields = from_json(encoded(value)) if on_the_wire else value.model_dump(mode="json")
        kind = type(value)
        return {"type": type_name(kind), "module": kind.__module__, "event": fields}


class _AnyException(_Travels):
    """An exception of whatever type."""

    def read(self, value: Any, info: ValidationInfo) -> BaseException:
        if isinstance(value, BaseException):
            return value
        return exceptions.revived(Failure.model_validate(value))

    def write(self, value: BaseException, info: SerializationInfo) -> dict[str, Any]:
        return exceptions.describe(value).model_dump(mode="json")


def _type(name: str, module: Any, called: Any) -> type[Event]:
    """Return the type of a name: the workflow's, one that is loaded, or `Event` itself.

    Nothing is imported for it: a record must not choose what code runs here.
    """
    known = called(name) if callable(called) else None
    if known is not None:
        kind: type[Event] = known
        return kind
    loaded = [kind for kind in subclasses(Event) if type_name(kind) == name]
    own = [kind for kind in loaded if kind.__module__ == module]
    return next(reversed(own or loaded), Event)


#: A field for an event of whatever type. To type checkers it has every field: which, only you know.
AnyEvent = Annotated[Any, _AnyEvent()]
#: A field for an exception of whatever type.
AnyException = Annotated[Exception, _AnyException()]


class JoinedEvents(Event):
    """The events of a `list[E]` that a step joins, as its input in a StepFailedEvent."""

    #: In the order in which the step had them.
    events: list[AnyEvent]
    #: How many are not here, because no record holds them all: then `events` is empty.
    left_out: int = 0


class StepFailedEvent(Event):
    """What a step with `@catch_error` takes: a step failed, and is not tried again."""

    #: The name of the step that failed.
    step_name: str
    #: The event that it failed on. A step that takes `list[E]` has a JoinedEvents here; one with
    #: several event parameters has the event that came last.
    input_event: AnyEvent
    #: The step's exception: of its own type if this process has imported that, else a
    #: WorkflowRuntimeError that names it. Its traceback is text, in its notes.
    exception: AnyException
    #: How often the step was tried.
    attempts: int
    #: From the beginning of the first attempt to the end of the last one.
    elapsed_seconds: float
    #: When the last attempt ended, in UTC.
    failed_at: datetime


# What the engine writes: the bytes of events as they came, never decoded and encoded again.


class Input(NamedTuple):
    """An event that a step was run for."""

    type: str
    module: str
    #: Its JSON.
    value: bytes

    def written(self) -> bytes:
        """Return it as it stands in a StepFailedEvent."""
        told = to_json({"type": self.type, "module": self.module})
        return b'%b,"event":%b}' % (told[:-1], self.value)


class LastFailure(NamedTuple):
    """Why a step is not tried again, and when that was."""

    failure: Failure
    attempts: int
    elapsed_seconds: float
    #: Unix milliseconds.
    failed_ms: float


def joined(inputs: Iterable[Input]) -> bytes:
    """Return the events of a join as they stand in a StepFailedEvent."""
    return b'{"events":[%b],"left_out":0}' % b",".join(one.written() for one in inputs)


def left_out(count: int) -> bytes:
    """Return what stands there for *count* events of which no record holds all."""
    return b'{"events":[],"left_out":%d}' % count


def written(step_name: str, input_event: bytes, last: LastFailure) -> bytes:
    """Return the value of a StepFailedEvent's record."""
    told: Mapping[str, Any] = {
        "step_name": step_name,
        "exception": last.failure.model_dump(mode="json"),
        "attempts": last.attempts,
        "elapsed_seconds": max(0.0, last.elapsed_seconds),
        "failed_at": datetime.fromtimestamp(last.failed_ms / 1000, UTC),
    }
    return b'%b,"input_event":%b}' % (to_json(told)[:-1], input_event)
