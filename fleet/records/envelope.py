"""
The envelope: what the engine knows about a record, in Kafka headers beside the user's event.

A header that has its default is not written. Header names are part of the wire format.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from pydantic_core import from_json

from fleet.records.errors import FleetError

Headers = list[tuple[str, bytes]]

EPOCH = "fleet-epoch"


class BrokenEnvelope(FleetError):
    """Raised when a record's headers do not say which run and event it belongs to."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason}; records of a workflow carry fleet-run-id, fleet-event-id and fleet-type: "
            "send events with `connect(...)` or `fleet run`"
        )


class Envelope(NamedTuple):
    """Which run a record belongs to, where it comes from, and what its value is."""

    #: The run that the record belongs to; its key, too.
    run_id: str
    #: Of this event, the same however often its step is run again.
    event_id: str
    #: The event type's name, or the kind of a lifecycle record.
    type: str
    #: Raised by resume, redrive and same-run replay.
    epoch: int = 0
    #: The event whose step produced this one; empty for what came from outside.
    parent_id: str = ""
    #: Only there: the step that this event is meant for.
    step: str = ""
    #: How often the record was replayed; a guard against loops.
    replays: int = 0
    #: Of a start event: how long the run may take, in seconds; None for no limit.
    timeout_seconds: float | None = None
    #: Of an event that begins a run in its middle: what the run's context begins with, a JSON
    #: object.
    context: str = ""
    #: W3C trace context.
    traceparent: str = ""

    def headers(self) -> Headers:
        """Return the Kafka headers, in a fixed order."""
        headers = [
            ("fleet-run-id", self.run_id.encode()),
            ("fleet-event-id", self.event_id.encode()),
            ("fleet-type", self.type.encode()),
        ]
        if self.epoch:
            headers.append((EPOCH, b"%d" % self.epoch))
        if self.parent_id:
            headers.append(("fleet-parent-id", self.parent_id.encode()))
        if self.step:
            headers.append(("fleet-step", self.step.encode()))
        if self.replays:
            headers.append(("fleet-replays", b"%d" % self.replays))
        if self.timeout_seconds is not None:
            headers.append(("fleet-timeout-seconds", b"%r" % self.timeout_seconds))
        if self.context:
            headers.append(("fleet-context", self.context.encode()))
        if self.traceparent:
            headers.append(("traceparent", self.traceparent.encode()))
        return headers


#: By header: the field and what reads it.
_FIELDS: dict[str, tuple[str, Callable[[bytes], Any]]] = {
    "fleet-run-id": ("run_id", bytes.decode),
    "fleet-event-id": ("event_id", bytes.decode),
    "fleet-type": ("type", bytes.decode),
    EPOCH: ("epoch", int),
    "fleet-parent-id": ("parent_id", bytes.decode),
    "fleet-step": ("step", bytes.decode),
    "fleet-replays": ("replays", int),
    "fleet-timeout-seconds": ("timeout_seconds", float),
    "fleet-context": ("context", bytes.decode),
    "traceparent": ("traceparent", bytes.decode),
}
_REQUIRED = ("fleet-run-id", "fleet-event-id", "fleet-type")


def parse(headers: Iterable[tuple[str, bytes | None]]) -> Envelope:
    """Read an envelope; raise BrokenEnvelope where it lacks a run or event id."""
    found: dict[str, Any] = {}
    try:
        for name, value in headers:
            # Kafka knows headers without a value; such a one says as much as none.
            if name in _FIELDS and value is not None:
                field, read = _FIELDS[name]
                found[field] = read(value)
        envelope = Envelope(**found)
    except ValueError as failure:
        raise BrokenEnvelope(f"a header cannot be read ({failure})") from None
    except TypeError:
        missing = next(name for name in _REQUIRED if _FIELDS[name][0] not in found)
        raise BrokenEnvelope(f"the record has no header {missing!r}") from None
    _check_id("run", envelope.run_id)
    _check_id("event", envelope.event_id)
    if envelope.context:
        _check_context(envelope.context)
    return envelope


def _check_id(name: str, text: str) -> None:
    # A NUL separates the parts of a state key: with one in an id, a run could reach into another.
    if not text or "\0" in text:
        raise BrokenEnvelope(f"{text!r} is no {name} id")


def _check_context(text: str) -> None:
    try:
        if isinstance(from_json(text), dict):
            return
    except ValueError:
        pass
    raise BrokenEnvelope("fleet-context is no JSON object")


def child_id(parent_id: str, step: str, index: int) -> str:
    """Return the id of the *index*-th event that *step* sent for *parent_id*.

    Derived, so that an attempt which is run again sends events of the same ids.
    """
    return _digest(parent_id, step, str(index))


def idempotency_key(event_id: str, step: str) -> str:
    """Return a key that is the same for every attempt of *step* on this event."""
    return _digest(event_id, step)


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=12).hexdigest()
