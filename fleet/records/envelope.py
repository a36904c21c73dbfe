"""
The envelope: what the engine knows about a record, in Kafka headers beside the user's event.

A header that has its default is not written. Header names are part of the wire format.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
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


def parse(headers: Iterable[tuple[str, bytes | None]]) -> Envelope:
    """Read an envelope; raise BrokenEnvelope where it lacks a run or event id."""
    # Kafka knows headers without a value; such a one says as much as none.
    found = {name: value for name, value in headers if value is not None}
    try:
        envelope = Envelope(
            run_id=found["fleet-run-id"].decode(),
            event_id=found["fleet-event-id"].decode(),
            type=found["fleet-type"].decode(),
            epoch=int(found.get(EPOCH, b"0")),
            parent_id=found.get("fleet-parent-id", b"").decode(),
            step=found.get("fleet-step", b"").decode(),
            replays=int(found.get("fleet-replays", b"0")),
            timeout_seconds=float(found["fleet-timeout-seconds"])
            if "fleet-timeout-seconds" in found
            else None,
            context=found.get("fleet-context", b"").decode(),
            traceparent=found.get("traceparent", b"").decode(),
        )
    except KeyError as missing:
        raise BrokenEnvelope(f"the record has no header {missing}") from None
    except ValueError as failure:
        raise BrokenEnvelope(f"a header cannot be read ({failure})") from None
    _check_ids(envelope)
    if envelope.context:
        _check_context(envelope.context)
    return envelope


def _check_ids(envelope: Envelope) -> None:
    # A NUL separates the parts of a state key: with one in an id, a run could reach into another.
    for name, text in (("run", envelope.run_id), ("event", envelope.event_id)):
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
