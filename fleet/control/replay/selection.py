"""
Which records of an event's topic a replay takes, what it makes of them, and why not of others.

Pure, so that a replay that was interrupted and goes on decides as it did before: all that a
decision needs is in the record and in the selection.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from pydantic_core import from_json, to_json

from fleet.control import syntax
from fleet.records import envelope as envelopes
from fleet.records import paths
from fleet.records.envelope import BrokenEnvelope, Envelope, Headers
from fleet.records.errors import ExitCode, FleetError
from fleet.records.events import Event, UndecodableEvent, decoded, type_name
from fleet.records.log import Delivered

#: First offset, and the one after the last, by partition.
Spans = Mapping[int, tuple[int, int]]

_OWN_HEADERS = ("fleet-", "traceparent", "tracestate")


class UnreadableCondition(FleetError):
    """Raised when a condition on a field is not one."""

    exit_code = ExitCode.REFUSED

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(
            f"--where {text!r} {reason}; write field=value, or field:=JSON for exactly that value; "
            "a field of a field is a dotted path, as in customer.country=ES"
        )


class UnreadablePlace(FleetError):
    """Raised when a text is no offset."""

    exit_code = ExitCode.REFUSED

    def __init__(self, option: str, text: str) -> None:
        super().__init__(
            f"{option} {text!r} is no offset; write PARTITION:OFFSET, or OFFSET for every partition"
        )


@dataclass(frozen=True, slots=True)
class Condition:
    """That a field of the event has a value."""

    path: tuple[str, ...]
    #: Any of them will do: a text as it is, and what it is as JSON.
    values: tuple[Any, ...]

    def holds(self, fields: Any) -> bool:
        """Tell whether the event with these *fields* meets it."""
        found = paths.descend(fields, self.path)
        return any(_same(found, each) for each in self.values)


@dataclass(frozen=True, slots=True)
class Place:
    """An offset, in one partition or in each."""

    offset: int
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """What a record must be, apart from where it stands."""

    #: As they were given.
    where: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()

    @property
    def conditions(self) -> list[Condition]:
        """What is asked of fields; raises UnreadableCondition."""
        return [condition(each) for each in self.where]


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a record that is meant becomes no run."""

    reason: str


class Judge:
    """Decides about each record of one topic."""

    def __init__(
        self, rules: Filter, *, event: type[Event] | None, begins: bool, max_replays: int
    ) -> None:
        """*event*: what is to begin runs; None where records are only copied.

        *begins*: only what began a run before.
        """
        self._conditions = rules.conditions
        self._run_ids = frozenset(rules.run_ids)
        self._event = event
        self._begins = begins
        self._max_replays = max_replays

    def judge(self, record: Delivered) -> Envelope | Refused | None:
        """Return the envelope of a record that is taken, or why it is not; None: not meant.

        Of one that is to be copied as it is the envelope may say nothing.
        """
        if self._run_ids and (record.key or b"").decode(errors="replace") not in self._run_ids:
            return None
        if self._conditions and not self._meets(record):
            return None
        try:
            envelope = envelopes.parse(record.headers)
        except BrokenEnvelope:
            if self._event is None:
                return Envelope(run_id="", event_id="", type="")
            return Refused("had no headers of a run")
        return envelope if self._event is None else self._starting(record, envelope, self._event)

    def _meets(self, record: Delivered) -> bool:
        try:
            fields = from_json(record.value or b"")
        except ValueError:
            return False
        return all(each.holds(fields) for each in self._conditions)

    def _starting(
        self, record: Delivered, envelope: Envelope, event: type[Event]
    ) -> Envelope | Refused:
        if envelope.replays >= self._max_replays:
            return Refused(f"were replayed too often, {_times(envelope.replays)} (--max-replays)")
        if envelope.type != type_name(event):
            return Refused(f"had another type ({envelope.type})")
        if self._begins and envelope.parent_id:
            return Refused(
                "a step of a run had sent (`--context empty` begins runs with those, too)"
            )
        try:
            decoded(event, record.value or b"")
        except UndecodableEvent:
            return Refused(f"cannot be read as {type_name(event)} now")
        return envelope


def condition(text: str) -> Condition:
    """Read `field=value` or `field:=JSON`; raise UnreadableCondition."""
    name, value, is_json = syntax.assignment(text) or ("", "", False)
    path = tuple(name.split("."))
    if not all(path):
        raise UnreadableCondition(text, "names no field and value")
    try:
        found = syntax.json_value(value)
    except ValueError as failure:
        if is_json:
            raise UnreadableCondition(text, f"has no JSON behind ':=' ({failure})") from None
        return Condition(path, (value,))
    return Condition(path, (found,) if is_json else (value, found))


def place(text: str, option: str) -> Place:
    """Read `PARTITION:OFFSET` or `OFFSET`; raise UnreadablePlace."""
    found = syntax.place(text)
    if found is None:
        raise UnreadablePlace(option, text)
    partition, offset = found
    return Place(offset, partition)


def bounded(spans: Spans, first: Iterable[Place], last: Iterable[Place]) -> Spans:
    """Cut *spans* at offsets; *last* ones are still inside.

    Where partitions are named, only those are meant.
    """
    first, last = list(first), list(last)
    named = {each.partition for each in (*first, *last)} - {None}
    return {
        partition: (
            max([start, *_offsets(first, partition)]),
            min([end, *(offset + 1 for offset in _offsets(last, partition))]),
        )
        for partition, (start, end) in spans.items()
        if not named or partition in named
    }


def oldest(found: Mapping[int, Sequence[tuple[int, int]]], limit: int) -> dict[int, int]:
    """Return where each partition ends so that the oldest *limit* records are before it.

    *found*: append times and offsets by partition, in its order. A partition of which nothing is
    taken is left out.
    """
    every = sorted(
        (at, partition, offset)
        for partition, each in found.items()
        # A partition is cut at one offset, so its times must not fall, as after a change of leader.
        for at, (_, offset) in zip(accumulate((at for at, _ in each), max), each, strict=True)
    )
    taken: dict[int, int] = {}
    for _, partition, offset in every[:limit]:
        taken[partition] = max(taken.get(partition, 0), offset + 1)
    return taken


def run_id(replay_id: str, record: Delivered) -> str:
    """Return the id of the run that a replay makes of *record*: the same however often it does."""
    event = record.topic.rpartition(".")[2]
    return f"replay-{replay_id}-{event}-{record.partition}-{record.offset}"


def started_anew(
    replay_id: str, record: Delivered, envelope: Envelope, context: Mapping[str, Any] | None = None
) -> Headers:
    """Return the headers of the event as the first one of a run of its own.

    *context* is what the run's context begins with.
    """
    new_id = run_id(replay_id, record)
    anew = envelope._replace(
        run_id=new_id,
        event_id=envelopes.child_id(new_id, "replay", 0),
        epoch=0,
        parent_id="",
        replays=envelope.replays + 1,
        context=to_json(context).decode() if context else "",
        traceparent="",
    )
    others = [each for each in record.headers if not each[0].startswith(_OWN_HEADERS)]
    return [*anew.headers(), *others]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _offsets(places: Iterable[Place], partition: int) -> list[int]:
    return [each.offset for each in places if each.partition in (None, partition)]


def _same(found: Any, wanted: Any) -> bool:
    # To Python 1 is True; to JSON it is not.
    return found == wanted and isinstance(found, bool) == isinstance(wanted, bool)
