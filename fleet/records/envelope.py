"""
The envelope: what the engine knows about a record, in Kafka headers beside the user's event.

A header that has its default is not written. Header names are part of the wire format.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from fleet.records.errors import FleetError
from fleet.records.nested.caller import Caller, Told

Headers = list[tuple[str, bytes]]

EPOCH = "fleet-epoch"
RECOVERIES = "fleet-recoveries"
CALLER = "fleet-caller"
TOLD = "fleet-told"


#: Longest id, type or step name in an envelope, in bytes of UTF-8.
MAX_ID_BYTES = 255
#: Longest time that a run may take, in seconds: a hundred years.
MAX_TIMEOUT_SECONDS = 100 * 365.25 * 86_400
#: Largest epoch and number of replays.
MAX_COUNT = 2**31 - 1
#: Longest list of recoveries, in bytes.
MAX_RECOVERIES_BYTES = 1_000
#: Largest order of an event: 16 digits, which unix microseconds have until the year 2286.
MAX_ORDER = 10**16 - 1


class BrokenEnvelope(FleetError):
    """Raised when a record's headers do not say which run and event it belongs to.

    What to do: Send events with `connect(...)` or `fleet run`, or write the three headers yourself:
    `fleet-run-id`, `fleet-event-id`, `fleet-type`.
    """

    #: The reliable part of it: run and event; None if they are not known.
    known: "Envelope | None" = None

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason}; records of a workflow carry fleet-run-id, fleet-event-id and fleet-type: "
            "send events with `connect(...)` or `fleet run`"
        )


class Envelope(NamedTuple):
    """The run of a record, its origin, and the type of its value."""

    #: The run that the record belongs to; also the record's key.
    run_id: str
    #: Of this event. It stays the same if the step that sends it runs again.
    event_id: str
    #: The event type's name, or the kind of a lifecycle record.
    type: str
    #: Raised by resume, redrive and same-run replay.
    epoch: int = 0
    #: The event whose step produced this one; empty if it came from outside.
    parent_id: str = ""
    #: The step that this event is meant for; empty: all that accept it.
    step: str = ""
    #: How often the record was replayed. It guards against loops.
    replays: int = 0
    #: Of a start event: how long the run may take, in seconds; None for no limit.
    timeout_seconds: float | None = None
    #: Of an event that begins a run in its middle: the context that the run begins with, as a
    #: JSON object.
    context: str = ""
    #: W3C trace context.
    traceparent: str = ""
    #: The fan-out that the event belongs to, the innermost; empty: none whose end a join awaits.
    scope: str = ""
    #: Of an event of a fan-out: what orders the members of a join. The broker's time at which its
    #: step ended, in unix microseconds, made larger than that of any event before.
    order: int = 0
    #: Of a join that fires: names the events that it has in the state. Empty for other events.
    batch: str = ""
    #: The handlers of failures that this event descends from, each with how often it ran.
    recoveries: tuple[tuple[str, int], ...] = ()
    #: No step of the sender's version accepts it; the type's name with its module.
    unaccepted: str = ""
    #: Of a start event that a step sends: the step that awaits the run. See `nested.caller`.
    caller: str = ""
    #: Of a record that tells a step of the end of such a run: which run. See `nested.caller`.
    told: str = ""

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
        if self.scope or self.order or self.batch or self.recoveries:
            headers += self._of_joins_and_failures()
        if self.unaccepted or self.caller or self.told:
            headers += self._of_other_workers()
        return headers

    def _of_joins_and_failures(self) -> Headers:
        headers = []
        if self.scope:
            headers.append(("fleet-scope", self.scope.encode()))
        if self.order:
            headers.append(("fleet-order", b"%d" % self.order))
        if self.batch:
            headers.append(("fleet-batch", self.batch.encode()))
        if self.recoveries:
            headers.append((RECOVERIES, written_recoveries(self.recoveries)))
        return headers

    def _of_other_workers(self) -> Headers:
        headers = []
        if self.unaccepted:
            headers.append(("fleet-unaccepted", self.unaccepted.encode()[-MAX_ID_BYTES:]))
        if self.caller:
            headers.append((CALLER, self.caller.encode()))
        if self.told:
            headers.append((TOLD, self.told.encode()))
        return headers


def _identifier(value: bytes) -> str:
    """Read an id. Ids are parts of state keys."""
    text = value.decode()
    # A NUL separates the parts of a state key: with one in an id, a run could reach into another.
    if not text or "\0" in text:
        raise ValueError(f"{text!r} is not an id")
    if len(value) > MAX_ID_BYTES:
        raise ValueError(f"an id of {len(value):,} bytes; the limit is {MAX_ID_BYTES}")
    return text


def _name(value: bytes) -> str:
    """Read a name: as an id, or empty."""
    return _identifier(value) if value else ""


def _count(value: bytes, largest: int = MAX_COUNT) -> int:
    # At most as many digits as the largest: int() also takes signs, spaces and underscores.
    if not value.isdigit() or len(value) > len(str(largest)) or int(value) > largest:
        raise ValueError(f"{value[:20]!r} is not a number from 0 to {largest}")
    return int(value)


def _order(value: bytes) -> int:
    return _count(value, MAX_ORDER)


def written_recoveries(recoveries: Iterable[tuple[str, int]]) -> bytes:
    """Return handlers and how often they ran as the value of a header."""
    return ",".join(f"{name}={count}" for name, count in recoveries).encode()


def _recoveries(value: bytes) -> tuple[tuple[str, int], ...]:
    if len(value) > MAX_RECOVERIES_BYTES:
        raise ValueError(f"{len(value):,} bytes; the limit is {MAX_RECOVERIES_BYTES:,}")
    pairs = [pair.partition(b"=") for pair in value.split(b",")] if value else []
    found = {_identifier(name): _count(count) for name, _, count in pairs}
    if len(found) < len(pairs):
        raise ValueError("it names a handler twice")
    return tuple(found.items())


def _seconds(value: bytes) -> float:
    seconds = float(value)
    if not 0 <= seconds <= MAX_TIMEOUT_SECONDS:
        raise ValueError(f"a timeout of {seconds} seconds")
    return seconds


def _context(value: bytes) -> str:
    text = value.decode()
    if text:
        found = from_json(text)
        if not isinstance(found, dict):
            raise ValueError("it is not a JSON object")
        # JSON that was read can be written, except for numbers with thousands of digits.
        to_json(found)
    return text


def _trace(value: bytes) -> str:
    # The specification (W3C Trace Context, 2.2) says to ignore one that is not valid.
    return value.decode() if len(value) <= MAX_ID_BYTES and value.isascii() else ""


def _caller(value: bytes) -> str:
    return Caller.read(value).written()


def _told(value: bytes) -> str:
    return Told.read(value).written()


def _shown(value: bytes) -> str:
    return value[-MAX_ID_BYTES:].decode(errors="replace")


#: By header: the field, and the function that reads it.
_FIELDS: dict[str, tuple[str, Callable[[bytes], Any]]] = {
    "fleet-run-id": ("run_id", _identifier),
    "fleet-event-id": ("event_id", _identifier),
    "fleet-type": ("type", _identifier),
    EPOCH: ("epoch", _count),
    "fleet-parent-id": ("parent_id", _name),
    "fleet-step": ("step", _name),
    "fleet-replays": ("replays", _count),
    "fleet-timeout-seconds": ("timeout_seconds", _seconds),
    "fleet-context": ("context", _context),
    "traceparent": ("traceparent", _trace),
    "fleet-scope": ("scope", _name),
    "fleet-order": ("order", _order),
    "fleet-batch": ("batch", _name),
    RECOVERIES: ("recoveries", _recoveries),
    "fleet-unaccepted": ("unaccepted", _shown),
    CALLER: ("caller", _caller),
    TOLD: ("told", _told),
}
_REQUIRED = ("fleet-run-id", "fleet-event-id", "fleet-type")
#: Without these the record names no run and no event.
_KNOWN = ("fleet-run-id", "fleet-event-id")


def parse(headers: Iterable[tuple[str, bytes | None]]) -> Envelope:
    """Read an envelope; raise BrokenEnvelope if it lacks an id or a header is not valid.

    Of a name that occurs twice the last one counts.
    """
    # Kafka allows headers without a value; they say nothing.
    given = {name: value for name, value in headers if name in _FIELDS and value is not None}
    found: dict[str, Any] = {}
    reason = ""
    for name, value in given.items():
        field, read = _FIELDS[name]
        try:
            found[field] = read(value)
        except ValueError as failure:
            reason = reason or f"the header {name} cannot be read ({failure})"
    missing = [name for name in _REQUIRED if name not in given]
    if missing:
        reason = reason or f"the record has no header {missing[0]!r}"
    if not reason:
        return Envelope(**found)
    broken = BrokenEnvelope(reason)
    if all(_FIELDS[name][0] in found for name in _KNOWN):
        known = Envelope(**{"type": ""} | found)
        # Only an event without a parent begins a run.
        is_child = "fleet-parent-id" in given and not known.parent_id
        broken.known = known._replace(parent_id="?") if is_child else known
    raise broken


def child_id(parent_id: str, step: str, index: int) -> str:
    """Return the id of the *index*-th event that *step* sent for *parent_id*.

    Derived, so that a repeated attempt sends events with the same ids.
    """
    return _digest(parent_id, step, str(index))


def child_run_id(*parts: str) -> str:
    """Return the id of the run that a step awaits; *parts* tell it from all others."""
    return _digest("child", *parts)


def end_id(run_id: str, epoch: int) -> str:
    """Return the id of the record that tells a step of the end of the run that it awaits."""
    return _digest("end", run_id, str(epoch))


def failure_id(event_id: str, step: str) -> str:
    """Return the id of the event that tells a handler that *step* has failed on an event."""
    return _digest("failed", event_id, step)


def scope_id(event_id: str, step: str) -> str:
    """Return the id of the fan-out that *step* opens for an event."""
    return _digest("scope", event_id, step)


def batch_event_id(batch: str, step: str) -> str:
    """Return the id of the event that a join is run for, in the place of its members' ids."""
    return _digest("batch", batch, step)


def batch_id(event_ids: Iterable[str]) -> str:
    """Return the id of some events that a join takes together."""
    return _digest("members", *event_ids)


def idempotency_key(event_id: str, step: str) -> str:
    """Return a key that is the same for every attempt of *step* on this event."""
    return _digest(event_id, step)


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=12).hexdigest()
