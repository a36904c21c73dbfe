"""
Events: what flows between steps, and the only thing in a record's value.

An event is a frozen pydantic model, because the same object may be handed to several steps. Unknown
fields are an error where an event is made (a typo is found at once) and ignored where one is read
(a newer producer does not break an older worker).
"""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from fleet.records.errors import FleetError


class UnencodableEvent(FleetError):
    """Raised when an event holds what JSON cannot carry."""

    def __init__(self, event_type: str, reason: str) -> None:
        super().__init__(
            f"this {event_type} cannot be written as JSON: {reason}; put only text, numbers, "
            "lists, dictionaries and pydantic models into events"
        )


class UndecodableEvent(FleetError):
    """Raised when the bytes of a record are no event of the type that they claim."""

    def __init__(self, event_type: str, reason: str) -> None:
        super().__init__(
            f"this cannot be read as {event_type}: {reason}; send the fields that {event_type} "
            "declares, as JSON"
        )


class Event(BaseModel):
    """Base of all events; subclass it and declare the fields.

    Fields hold whatever pydantic can turn into JSON and back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def get(self, name: str, default: Any = None) -> Any:
        """Return the field *name*, or *default* where the event has none."""
        # Not getattr alone: `copy` and `json` are methods of every event.
        if name in type(self).model_fields:
            return getattr(self, name)
        return (self.model_extra or {}).get(name, default)


E = TypeVar("E", bound=Event)


class StartEvent(Event):
    """Starts a run. Takes any fields; subclass it to declare (and check) them."""

    model_config = ConfigDict(extra="allow")


class StopEvent(Event):
    """Ends a run with `result`. A subclass with fields of its own comes back whole and typed."""

    model_config = ConfigDict(extra="allow")

    #: What `await handler` gives; whatever JSON can carry.
    result: Any = None


# Functions and not methods: a field of a user's event may have any of these names.


def type_name(event: Event | type[Event]) -> str:
    """Return the name that topics and envelopes carry for an event's type."""
    return (event if isinstance(event, type) else type(event)).__name__


def encoded(event: Event) -> bytes:
    """Return an event as a record's value: a JSON object in UTF-8.

    Raises UnencodableEvent where a field's value has no JSON.
    """
    try:
        return event.__pydantic_serializer__.to_json(event)
    except ValueError as failure:
        raise UnencodableEvent(type_name(event), str(failure)) from None


def decoded(event_type: type[E], value: bytes) -> E:
    """Read an event from a record's value; raise UndecodableEvent when it is none.

    That is also raised where the type's own validators raise another error.
    """
    try:
        return _read(event_type, value)
    except Exception as failure:  # noqa: BLE001 - the boundary: validators are the user's code
        raise UndecodableEvent(type_name(event_type), problems(failure)) from None


def _read(event_type: type[E], value: bytes) -> E:
    # By field name, as it was written; by alias, as others may write it.
    try:
        return event_type.model_validate_json(value, by_name=True, by_alias=True)
    except ValidationError as failure:
        if all(error["type"] != "extra_forbidden" for error in failure.errors()):
            raise
    # Only now: what is passed here overrules the models inside the event, too, and those that
    # keep unknown fields would lose them.
    open_ended = event_type.model_config.get("extra") == "allow"
    return event_type.model_validate_json(
        value, extra="allow" if open_ended else "ignore", by_name=True, by_alias=True
    )


def problems(failure: Exception) -> str:
    """Say in one line what pydantic found, or what a validator raised instead."""
    try:
        if isinstance(failure, ValidationError):
            return "; ".join(
                f"{'.'.join(str(part) for part in error['loc']) or 'value'}: {error['msg']}"
                for error in failure.errors(include_url=False)
            )
        return f"{type(failure).__qualname__}: {failure}"
    except Exception:  # noqa: BLE001 - the text of an error is the user's code, too
        return type(failure).__qualname__
