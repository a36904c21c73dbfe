"""
Waits for events, as the state has them: what a step waits for, and what has come.

An answer matches if its type is the one that is awaited and each required field has the required
value. Required values are compared as JSON has them.
"""

import sys
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json, to_jsonable_python

from fleet.records.calls import Call
from fleet.records.events import Event, UndecodableEvent, decoded, subclasses, type_name

#: What is recorded of a wait that no event has ended in its time.
TIMED_OUT = b"timed out"
#: In the place of a value that cannot be JSON: it equals none.
_NONE_SUCH = object()


class Wait(BaseModel):
    """What a step waits for."""

    model_config = ConfigDict(frozen=True, extra="allow")

    #: Tells the waits of a step apart.
    id: str
    #: The type's name in topics.
    awaits: str
    #: Where its class is.
    module: str
    qualname: str
    #: Whether events of its subclasses match, too.
    subclasses: bool = False
    #: Values that fields of the event must have, as JSON has them.
    requirements: dict[str, Any] = Field(default_factory=dict)
    #: What was shown to the caller when the wait began, if something was; its fields as JSON, if
    #: they are not very large.
    question_type: str = ""
    question: str = ""

    @property
    def is_known(self) -> bool:
        """Whether this process has the class of the awaited events."""
        return self._class() is not None

    def matches(self, type_called: str, value: bytes) -> bool:
        """Tell whether an event ends the wait."""
        kind = self._class()
        if kind is not None:
            return self.read(kind, type_called, value) is not None
        # A worker that did not import the class has the fields that were written.
        return type_called == self.awaits and self._fits_as_json(value)

    def read(self, kind: type[Event], type_called: str, value: bytes) -> Event | None:
        """Return the event that ends the wait for events of the class *kind*; None: it does not."""
        for one in self._called(kind, type_called):
            try:
                event = decoded(one, value)
            except UndecodableEvent:
                continue
            wanted = self.requirements.items()
            if all(as_json(getattr(event, name, None)) == value for name, value in wanted):
                return event
        return None

    def _called(self, kind: type[Event], name: str) -> list[type[Event]]:
        """Return the classes of this name that match: *kind* or some below it, the newest first."""
        if name == self.awaits:
            return [kind]
        below = [one for one in subclasses(kind) if type_name(one) == name]
        return below[::-1] if self.subclasses else []

    def _fits_as_json(self, value: bytes) -> bool:
        try:
            read = from_json(value)
        except ValueError:
            return False
        given = read if isinstance(read, dict) else {}
        return all(given.get(name) == wanted for name, wanted in self.requirements.items())

    def _class(self) -> type[Event] | None:
        """Return the class of the awaited events, if this process has imported it."""
        found: Any = sys.modules.get(self.module)
        for name in self.qualname.split("."):
            # What is there, not what a module's own __getattr__ would import.
            found = getattr(found, "__dict__", {}).get(name)
        if isinstance(found, type) and issubclass(found, Event):
            return found
        # One that was declared in a function; of several the newest.
        named = [one for one in subclasses(Event) if one.__qualname__ == self.qualname]
        return next((one for one in reversed(named) if one.__module__ == self.module), None)


class Answer(NamedTuple):
    """An event that has ended a wait."""

    event_id: str
    type: str
    value: bytes

    def encode(self) -> bytes:
        """Return what is recorded of the wait."""
        return b"%b\0%b\0%b" % (self.event_id.encode(), self.type.encode(), self.value)

    @classmethod
    def decode(cls, noted: bytes) -> "Answer | None":
        """Read what is recorded of a wait; None: its time has passed."""
        if noted == TIMED_OUT:
            return None
        event_id, type_called, value = noted.split(b"\0", 2)
        return cls(event_id.decode(), type_called.decode(), value)


def call_of(wait: Wait) -> Call:
    """Return the recorded call of a wait."""
    return Call("wait", wait.id)


def as_json(value: object) -> Any:
    """Return a value as JSON has it; of what cannot be JSON, a thing that equals no value."""
    try:
        return to_jsonable_python(value, bytes_mode="base64", inf_nan_mode="strings")
    except Exception:  # noqa: BLE001 - the boundary: a serializer may be user code
        return _NONE_SUCH


def is_json(value: object) -> bool:
    """Tell whether `as_json` gives a value that can be written."""
    return value is not _NONE_SUCH
