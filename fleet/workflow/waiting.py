"""
Waits of steps for events: what `ctx.wait_for_event` is given, checked, and what it gives.

The step is run again from its top when the event has come, and each wait that has its event gives
it at once.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar, cast

from fleet.records import waits
from fleet.records.calls import Call
from fleet.records.envelope import MAX_TIMEOUT_SECONDS
from fleet.records.events import Event, decoded, encoded, type_name
from fleet.records.waits import Answer, Wait
from fleet.workflow.errors import WorkflowConfigurationError

#: How long a step waits that does not say so, in seconds.
DEFAULT_SECONDS = 2_000.0
#: Longest id of a wait, in bytes: it is part of a key of the state.
MAX_ID_BYTES = 255
#: Longest question that the list of waits shows, in bytes.
_SHOWN_BYTES = 8_000

E = TypeVar("E", bound=Event)


class EventWait(NamedTuple):
    """A step waits for an event."""

    wait: Wait
    #: Shown to the caller when the wait begins, with its bytes.
    question: Event | None
    value: bytes
    #: None: for as long as the run goes on.
    timeout_seconds: float | None
    #: The id that it had in a version before; empty if it had none.
    formerly: str = ""

    @property
    def call(self) -> Call:
        """The recorded call of the wait."""
        return waits.call_of(self.wait)

    @property
    def former_call(self) -> Call | None:
        """The recorded call of the wait under the id that it had; None if it had none."""
        return Call(self.call.kind, self.formerly) if self.formerly else None


class BadWait(WorkflowConfigurationError):
    """Raised in a step that waits for something which cannot come, or cannot be told apart.

    What to do: Correct the argument of `ctx.wait_for_event` that the message names.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(f"ctx.wait_for_event: {problem}")


def asked(  # noqa: PLR0913 - what `ctx.wait_for_event` is given
    event_type: type[Event],
    question: Event | None,
    waiter_id: str | None,
    requirements: Mapping[str, Any] | None,
    timeout_seconds: float | None,
    formerly: str | None = None,
) -> EventWait:
    """Return a wait as a step asks for it; raise BadWait, and UnencodableEvent for the question."""
    _check(event_type, question, waiter_id)
    _check_id("formerly", formerly)
    required = _required(requirements or {})
    value = encoded(question) if question is not None else b""
    wait = Wait(
        id=waiter_id if waiter_id is not None else _made_id(event_type, required),
        awaits=type_name(event_type),
        module=event_type.__module__,
        qualname=event_type.__qualname__,
        requirements=required,
        question_type=type_name(question) if question is not None else "",
        question=value.decode() if len(value) <= _SHOWN_BYTES else "",
    )
    return EventWait(wait, question, value, _seconds(timeout_seconds), formerly or "")


def given(event_type: type[E], asked_for: EventWait, noted: bytes) -> E:
    """Return the event that is recorded of a wait; raise TimeoutError if none came in time."""
    answer = Answer.decode(noted)
    if answer is None:
        seconds = asked_for.timeout_seconds
        within = f" within {seconds:g} seconds" if seconds is not None else ""
        raise TimeoutError(f"no {type_name(event_type)} came{within}")
    wait = asked_for.wait.model_copy(update={"subclasses": True})
    event = wait.read(event_type, answer.type, answer.value)
    # What matched once may be of a class that was changed since: its own error says how.
    return cast("E", event if event is not None else decoded(event_type, answer.value))


def _check(event_type: object, question: object, waiter_id: object) -> None:
    if not (isinstance(event_type, type) and issubclass(event_type, Event)):
        raise BadWait(f"it waits for a subclass of Event, not {event_type!r}; give e.g. Approval")
    if question is not None and not isinstance(question, Event):
        raise BadWait(f"waiter_event is an event, not {question!r}; give e.g. Ask(text=...)")
    _check_id("waiter_id", waiter_id)


def _check_id(argument: str, given: object) -> None:
    if given is None:
        return
    if not isinstance(given, str) or not given or "\0" in given:
        raise BadWait(f"{argument} is a text that is not empty, not {given!r}")
    if len(given.encode()) > MAX_ID_BYTES:
        raise BadWait(
            f"the {argument} has {len(given.encode()):,} bytes, at most {MAX_ID_BYTES} fit; "
            "shorten it"
        )


def _required(requirements: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(requirements, Mapping):
        raise BadWait(f"requirements are values by field name, not {requirements!r}")
    found = {name: waits.as_json(value) for name, value in requirements.items()}
    for name, value in found.items():
        if not isinstance(name, str) or not waits.is_json(value):
            raise BadWait(
                f"the requirement {name!r} is {type(requirements[name]).__name__}, which cannot "
                "be JSON; require a text, a number or another JSON value"
            )
    return found


def _made_id(event_type: type[Event], required: dict[str, Any]) -> str:
    """Return the id of a wait that has none: waits for the same are one."""
    where = f"{event_type.__module__}.{event_type.__qualname__}"
    text = f"{where} {json.dumps(required, sort_keys=True)}" if required else where
    if len(text.encode()) <= MAX_ID_BYTES and "\0" not in text:
        return text
    return f"{type_name(event_type)} {hashlib.sha256(text.encode()).hexdigest()}"


def _seconds(timeout_seconds: object) -> float | None:
    if timeout_seconds is None:
        return None
    is_number = isinstance(timeout_seconds, int | float) and not isinstance(timeout_seconds, bool)
    # Not a NaN, which is no larger and no smaller than anything.
    if not (is_number and 0 <= timeout_seconds <= MAX_TIMEOUT_SECONDS):  # type: ignore[operator]
        raise BadWait(
            f"timeout is a number of seconds from 0 to {MAX_TIMEOUT_SECONDS:,}, or None for no "
            f"limit, not {timeout_seconds!r}"
        )
    return float(timeout_seconds)  # type: ignore[arg-type]
