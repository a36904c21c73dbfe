"""
Events flow between steps. A record's value is one event, and nothing else.

An event is a frozen pydantic model, because a sent event must not change. A class that declares
fields takes those: others are an error when you make an event (you find a typo at once), and are
ignored when a step reads one (a newer producer does not break an older worker). A class that
declares none takes any, and so do StartEvent and StopEvent; such *free* fields are also read as
those of a dictionary.

A value comes back equal and of its type, or Fleet refuses it when it writes the event: then the
sender still gets the error. Most types promise this and cost nothing; see `field_types`.
"""

import functools
import re
import warnings
from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError
from typing_extensions import dataclass_transform

from fleet.records import field_types, values
from fleet.records.clear_text import ON_THE_WIRE
from fleet.records.errors import FleetError
from fleet.records.field_types import Promise

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)


class UnencodableEvent(FleetError):
    """Raised when an event holds a value that JSON would change.

    What to do: Declare the field with a type that comes back (docs/types.md), or send another
    value.
    """

    def __init__(self, event_type: str, reason: str) -> None:
        #: Which value, why, and the way out.
        self.reason = reason
        super().__init__(f"this {event_type} cannot be sent: {reason}")


class UndecodableEvent(FleetError):
    """Raised when a record's bytes cannot be read as the event type that its headers name.

    What to do: Send the fields that the event declares, as JSON. After a change of the class, give
    new fields a default.
    """

    def __init__(self, event_type: str, reason: str) -> None:
        #: What pydantic found.
        self.reason = reason
        super().__init__(
            f"this cannot be read as {event_type}: {reason}; send the fields that {event_type} "
            "declares, as JSON"
        )


class FrozenEvent(FleetError, AttributeError):
    """Raised when you assign to a field of an event.

    What to do: Make another event: `ev.model_copy(update={"field": ...})`.
    """

    def __init__(self, event_type: str, name: str) -> None:
        super().__init__(
            f"{event_type}.{name} cannot be changed: an event is frozen, and every step has a copy "
            f"of its own; make another one: `ev.model_copy(update={{{name!r}: ...}})`"
        )


class TakenFieldName(FleetError):
    """Raised when a field has a name that pydantic uses in every model.

    What to do: Rename the field; `Field(alias=...)` keeps the name on the wire.
    """

    def __init__(self, event_type: str, name: str) -> None:
        super().__init__(
            f"the field {name} of {event_type} would hide `{name}`, which pydantic gives every "
            f"model; rename it, perhaps with `Field(alias={name!r})`"
        )


class _Reading:
    """A method of every event that a free field of the same name hides."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, event: "Event | None", kind: type) -> Any:
        free = (event.__pydantic_extra__ or {}) if event is not None else {}
        name = self._method.__name__
        return free[name] if name in free else self._method.__get__(event, kind)


M = TypeVar("M", bound=Callable[..., Any])


def _reading(method: M) -> M:
    return _Reading(method)  # type: ignore[return-value]  # what it gives is the method


@dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(Field, PrivateAttr)
)
class _EventMeta(ModelMetaclass):
    """Tells type checkers that events are frozen; pydantic's own does not."""

    def __new__(mcs, name: str, bases: Any, namespace: Any, **options: Any) -> type:
        for field in namespace.get("__annotations__", ()):
            if field.startswith("model_") and hasattr(BaseModel, field):
                raise TakenFieldName(name, field)
        if not _says_extra(bases, namespace, options):
            takes = "forbid" if _has_fields(bases, namespace) else "allow"
            namespace["model_config"] = {**namespace.get("model_config", {}), "extra": takes}
        else:
            namespace["__fleet_says_extra__"] = True
        with warnings.catch_warnings():
            # A field may be called `json` or `get`: Fleet never calls the method of that name.
            warnings.filterwarnings("ignore", "Field name .* shadows an attribute", UserWarning)
            return super().__new__(mcs, name, bases, namespace, **options)


def _says_extra(bases: Any, namespace: Any, options: Any) -> bool:
    """Tell whether an event class, or one above it, says itself whether it takes other fields."""
    return (
        "extra" in options
        or "extra" in namespace.get("model_config", {})
        or any(getattr(base, "__fleet_says_extra__", False) for base in bases)
    )


def _has_fields(bases: Any, namespace: Any) -> bool:
    own = namespace.get("__annotations__", {}).items()
    return any(getattr(base, "__pydantic_fields__", None) for base in bases) or any(
        not name.startswith("_") and "ClassVar" not in str(kind) for name, kind in own
    )


class Event(BaseModel, metaclass=_EventMeta):
    """Base of all events; subclass it and declare the fields.

    Fields hold values that pydantic can turn into JSON and back; docs/types.md has a table. A class
    without fields takes any.
    """

    # JSON has no NaN and no infinity, so they are text. Bytes may be no text, so they are base64.
    model_config = ConfigDict(
        frozen=True,
        ignored_types=(_Reading,),
        ser_json_inf_nan="strings",
        ser_json_bytes="base64",
        val_json_bytes="base64",
    )

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: Any) -> None:
            try:
                super().__setattr__(name, value)
            except ValidationError:
                raise FrozenEvent(type_name(self), name) from None

        def __delattr__(self, name: str) -> None:
            try:
                super().__delattr__(name)
            except ValidationError:
                raise FrozenEvent(type_name(self), name) from None

        def __setitem__(self, name: str, value: Any) -> None:
            raise FrozenEvent(type_name(self), name)

        def __delitem__(self, name: str) -> None:
            raise FrozenEvent(type_name(self), name)

        # Type checkers do not see these: a field of yours may be called `items`.

        @_reading
        def keys(self) -> KeysView[str]:
            """Return the names of the free fields."""
            return _free(self).keys()

        @_reading
        def values(self) -> ValuesView[Any]:
            """Return the values of the free fields."""
            return _free(self).values()

        @_reading
        def items(self) -> ItemsView[str, Any]:
            """Return the free fields, as pairs of name and value."""
            return _free(self).items()

        @_reading
        def to_dict(self) -> dict[str, Any]:
            """Return the free fields."""
            return dict(_free(self))

    def get(self, name: str, default: Any = None) -> Any:
        """Return the field *name*, declared or free, or *default* if there is none."""
        try:
            return self[name]
        except KeyError:
            return default

    def __getitem__(self, name: str) -> Any:
        # Not getattr alone: `copy` and `json` are methods of every event.
        return getattr(self, name) if name in type(self).model_fields else _free(self)[name]

    def __contains__(self, name: object) -> bool:
        return name in type(self).model_fields or name in _free(self)

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]  # pydantic gives pairs
        return iter(_free(self))

    def __len__(self) -> int:
        return len(_free(self))

    def __bool__(self) -> bool:
        return True


E = TypeVar("E", bound=Event)
#: Returns the event type of a name; None if there is none.
TypeCalled = Callable[[str], type[Event] | None]


class StartEvent(Event):
    """Starts a run. Takes any fields; subclass it to declare (and check) them."""

    model_config = ConfigDict(extra="allow")

    if TYPE_CHECKING:

        def __init__(self, **fields: Any) -> None: ...


class _StopEventMeta(_EventMeta):
    """Lets `StopEvent("done")` be `StopEvent(result="done")`."""

    def __call__(cls, *given: Any, **fields: Any) -> Any:  # noqa: N805 - of a metaclass
        if len(given) == 1 and "result" not in fields:
            return super().__call__(result=given[0], **fields)
        return super().__call__(*given, **fields)


class StopEvent(Event, metaclass=_StopEventMeta):
    """Ends a run with `result`. A subclass with fields of its own comes back whole and typed."""

    model_config = ConfigDict(extra="allow")

    #: The value that `await handler` gives: of a JSON type, or of the type in `Workflow[...]`.
    result: Any = None

    if TYPE_CHECKING:

        def __init__(self, result: Any = None, **fields: Any) -> None: ...


class InputRequiredEvent(Event):
    """Asks for an answer from outside. What a step returns or sends of it goes to the stream.

    Subclass it to declare the fields of the question.
    """


class HumanResponseEvent(Event):
    """An answer from outside: a step takes it, or waits for it with `ctx.wait_for_event`.

    Subclass it to declare the fields of the answer.
    """


class InternalDispatchEvent(Event):
    """What Fleet itself shows of a run: see `stream_events(expose_internal=True)`."""


class UnhandledEvent(InternalDispatchEvent):
    """Shown for an event of a run that no step accepts."""

    #: The name of the event's class.
    event_type: str
    #: With its module.
    qualified_name: str
    #: The step that it was sent to; None if to all.
    step_name: str | None = None
    #: Whether nothing of the run was in progress then.
    idle: bool = False


class StreamRestarted(InternalDispatchEvent):
    """Shown before the events of a step that runs again: those that it showed before are void.

    A step runs again after its worker was lost, after a failure with a retry policy, and when its
    run is resumed.
    """

    #: The step that runs again.
    step_name: str
    #: Id of the event that it runs on.
    event_id: str
    #: How many events this reader was shown of the attempt that no longer counts.
    void_events: int


# Functions, not methods: your event may have a field of any of these names.


def _free(event: Event) -> dict[str, Any]:
    return event.__pydantic_extra__ or {}


def fields_of(event: Event) -> dict[str, Any]:
    """Return all fields of an event, declared and free, by name."""
    declared = {name: getattr(event, name) for name in type(event).model_fields}
    return {**declared, **_free(event)}


def qualified_name(event_type: type[Event]) -> str:
    """Return the name of an event's type with its module."""
    return f"{event_type.__module__}.{event_type.__qualname__}"


def subclasses(kind: type[Event]) -> Iterator[type[Event]]:
    """Yield every class below *kind*."""
    for below in kind.__subclasses__():
        yield below
        yield from subclasses(below)


def type_name(event: Event | type[Event]) -> str:
    """Return the name of an event's type in topics and envelopes."""
    name = (event if isinstance(event, type) else type(event)).__name__
    return name if "[" not in name else _of_generic(name)


@functools.cache
def _of_generic(name: str) -> str:
    """Return `Box_int` for `Box[int]`: a topic's name may have no brackets."""
    return re.sub(r"\W+", "_", name).strip("_")


class StatedResult(Protocol):
    """The type that a workflow declares for the `.result` of its plain StopEvent."""

    def typed(self, event: StopEvent) -> Event:
        """Return the event with a result of that type; raise UndecodableEvent if it has none."""
        ...


def promise(event_type: type[Event]) -> Promise:
    """Return what the field types promise about their values."""
    known: Promise | None = event_type.__dict__.get("__fleet_promise__")
    if known is None:
        known = field_types.promise(event_type)
        if event_type.__pydantic_complete__:
            event_type.__fleet_promise__ = known  # type: ignore[attr-defined]
    return known


def encoded(event: Event, result: StatedResult | None = None) -> bytes:
    """Return an event as a record's value: a JSON object in UTF-8.

    *result* is the type that the workflow declares for a plain StopEvent's `.result`. Raises
    UnencodableEvent, with the field, if a value would not come back equal and of its type.
    """
    if result is not None and type(event) is StopEvent:
        event = result.typed(event)
    promised = promise(type(event))
    if promised.findings:
        raise UnencodableEvent(type_name(event), promised.findings[0])
    try:
        value, sure = _written(event, "error"), promised.kept(event)
    except ValueError:
        # A value is not of its field's type, or cannot be JSON.
        value, sure = _written_at_all(event), False
    if not sure:
        _check(event, value)
    return value


def _written(
    event: Event, on_doubt: Literal["error", "none"], only: set[str] | None = None
) -> bytes:
    return event.__pydantic_serializer__.to_json(
        event,
        include=only,
        by_alias=False,
        round_trip=True,
        warnings=on_doubt,
        context=ON_THE_WIRE,
    )


def _written_at_all(event: Event) -> bytes:
    try:
        return _written(event, "none")
    except (ValueError, AttributeError) as failure:
        reason = str(failure).splitlines()[0].removeprefix("Error serializing to JSON: ")
        raise UnencodableEvent(
            type_name(event), f"{_unwritable(event)}{reason}; {_JSON_HAS}"
        ) from None


_JSON_HAS = "put only text, numbers, lists, dictionaries and pydantic models into events"


def _unwritable(event: Event) -> str:
    """Return the name of the field that cannot be written, as the beginning of a sentence."""
    for name in (*type(event).model_fields, *(event.__pydantic_extra__ or ())):
        try:
            _written(event, "none", {name})
        except (ValueError, AttributeError):
            return f"{name}: "
    return ""


def _check(event: Event, value: bytes) -> None:
    """Raise UnencodableEvent if *value* does not read as *event*."""
    try:
        after = decoded(type(event), value)
    except UndecodableEvent as failure:
        raise UnencodableEvent(
            type_name(event),
            f"it could not be read again: {failure.reason}; use values that its fields declare",
        ) from None
    changed = values.difference(event, after)
    if changed is not None:
        raise UnencodableEvent(type_name(event), str(changed))


def decoded(event_type: type[E], value: bytes, type_called: TypeCalled | None = None) -> E:
    """Read an event from a record's value; raise UndecodableEvent if it cannot be read.

    Also if the type's own validators raise another error. *type_called* returns the event types of
    the workflow by name, for an event that holds another one.
    """
    try:
        return _read(event_type, value, type_called)
    except Exception as failure:  # noqa: BLE001 - the boundary: validators are your code
        raise UndecodableEvent(type_name(event_type), problems(failure)) from None


def _read(event_type: type[E], value: bytes, context: TypeCalled | None) -> E:
    # By field name, as Fleet writes it; by alias, as other clients may write it.
    try:
        return event_type.model_validate_json(value, by_name=True, by_alias=True, context=context)
    except ValidationError as failure:
        if all(error["type"] != "extra_forbidden" for error in failure.errors()):
            raise
    # Only now: `extra` here also overrules the models inside the event, and those that keep
    # unknown fields would lose them.
    open_ended = event_type.model_config.get("extra") == "allow"
    return event_type.model_validate_json(
        value,
        extra="allow" if open_ended else "ignore",
        by_name=True,
        by_alias=True,
        context=context,
    )


def problems(failure: Exception) -> str:
    """Return in one line what pydantic found, or what a validator raised instead."""
    try:
        if isinstance(failure, ValidationError):
            return "; ".join(
                f"{'.'.join(str(part) for part in error['loc']) or 'value'}: {error['msg']}"
                for error in failure.errors(include_url=False)
            )
        return f"{type(failure).__qualname__}: {failure}"
    except Exception:  # noqa: BLE001 - an error's text comes from your code, too
        return type(failure).__qualname__
