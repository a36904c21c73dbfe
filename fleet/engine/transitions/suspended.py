"""
Suspended work: a step and its event that wait in the state and no longer in a topic.

The event is done in its topic once the entry is committed. The commit of what the step gives
removes the entry. Work that waits for its time stands under a prefix of its own (`timed`), and so
does the work of a run that ended without a result, until the run is resumed: a task that is loaded
looks only at what it can run.

A result that came after the end of its run waits in the same way: the resumed run ends with it.
"""

import enum
from collections.abc import Iterable
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from fleet.records import envelope as envelopes
from fleet.records import state
from fleet.records.entry import Entry
from fleet.records.lifecycle import Failure
from fleet.records.log import Delivered
from fleet.records.state import Overlay, View
from fleet.records.waits import Wait

#: In every entry that has a time.
_DUE = b'"due_ms":'
#: In every entry that waits for an event.
_WAIT = b'"wait":{'


class Until(enum.StrEnum):
    """What suspended work waits for."""

    #: An operator resumes its run, which ended without a result.
    RESUME = "resume"
    #: Nothing more: its task runs it.
    NOW = "now"
    #: Its time.
    TIME = "time"
    #: A worker whose version of the workflow has a step for it.
    VERSION = "version"


class Tries(BaseModel):
    """What is known of the attempts of a step on its event that failed."""

    model_config = ConfigDict(frozen=True, extra="allow")

    #: Those that count for its policy, and those before the run was resumed last.
    failed: int = 0
    earlier: int = 0
    #: When the first attempt began and the last one failed, in unix milliseconds of broker time.
    first_ms: int = 0
    failed_ms: int = 0
    #: What the last one failed with, without its stack.
    failure: Failure | None = None

    def failed_again(self) -> Self:
        """Return what is known after one more failure, of which nothing else is kept."""
        return self.model_copy(update={"failed": self.failed + 1})

    def resumed(self) -> Self:
        """Return what is known after a resume: the policy begins again, the count goes on."""
        update = {"failed": 0, "first_ms": 0, "earlier": self.earlier + self.failed}
        return self.model_copy(update=update)


class Suspended(Entry):
    """A step that is to run for an event, whatever the event's topic has become."""

    model_config = ConfigDict(
        frozen=True, extra="allow", ser_json_bytes="base64", val_json_bytes="base64"
    )

    #: The event's topic; `runs` for a result that came too late.
    topic: str
    offset: int = -1
    #: Kafka knows headers without a value.
    headers: tuple[tuple[str, bytes | None], ...]
    #: It stands behind the JSON, in which it would be larger than a record may be.
    value: bytes = Field(b"", exclude=True)
    #: Empty: every step that accepts the event, as for one that could not be decoded.
    step: str
    until: Until = Until.RESUME
    #: Broker time at which it began to wait, in unix milliseconds.
    since_ms: int = 0
    #: Broker time at which it runs, in unix milliseconds; 0: no time is set. Of work that waits for
    #: a version: when it has waited long enough.
    due_ms: int = 0
    #: None if no attempt has failed.
    tries: Tries | None = None
    #: The event that it waits for; None: for none.
    wait: Wait | None = None
    #: The runs that it awaits: the workflow and the id of each.
    children: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Return the state value: JSON, a NUL, the event's value."""
        return b"%b\0%b" % (super().encode(), self.value)

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a state value."""
        entry, _, event = value.partition(b"\0")
        return super().decode(entry).model_copy(update={"value": event})

    @classmethod
    def of(cls, record: Delivered, step: str) -> Self:
        """Return the entry of *step* for an event, as it begins; empty: of every step."""
        return cls(
            topic=record.topic,
            offset=record.offset,
            headers=tuple(record.headers),
            value=record.value or b"",
            step=step,
        )

    def record(self, partition: int) -> Delivered:
        """Return the event as its topic delivered it, with the epoch that it was given since."""
        headers = [(name, value) for name, value in self.headers if value is not None]
        return Delivered(
            topic=self.topic,
            partition=partition,
            offset=self.offset,
            appended_ms=self.since_ms,
            key=dict(headers).get("fleet-run-id", b""),
            value=self.value,
            headers=headers,
        )

    def resumed(self, epoch: int, now_ms: int) -> Self:
        """Return it as work that its task runs, in *epoch*."""
        headers = tuple(with_epoch(self.headers, epoch))
        tries = self.tries.resumed() if self.tries is not None else None
        update = {"headers": headers, "until": Until.NOW, "since_ms": now_ms, "tries": tries}
        return self.model_copy(update={**update, "due_ms": 0, "children": ()})


def until_resume(record: Delivered, step: str, tries: Tries | None = None) -> bytes:
    """Return the state value of *step* that waits for a resume; empty: of every step."""
    update = {"since_ms": record.appended_ms, "tries": tries}
    return Suspended.of(record, step).model_copy(update=update).encode()


def for_version(record: Delivered, step: str, epoch: int, until: Until) -> bytes:
    """Return the state value of an event of *epoch* for which only another version has a step."""
    kept = Suspended.of(record, step).resumed(epoch, record.appended_ms)
    return kept.model_copy(update={"until": until}).encode()


def resume(changes: Overlay, run_id: str, epoch: int, now_ms: int) -> list[tuple[bytes, Suspended]]:
    """Let the work that waited for a resume run in *epoch*; return it with its keys.

    What waits for an event goes on waiting; it is returned, too.
    """
    prefix = state.awaiting_prefix(run_id)
    found = [(key[len(prefix) :], Suspended.decode(value)) for key, value in changes.items(prefix)]
    changes.delete_all(prefix)
    resumed = []
    for place, entry in found:
        again = entry.resumed(epoch, now_ms)
        key = state.suspended_prefix(run_id) + place
        if entry.wait is not None:
            key = state.waiting_prefix(run_id) + place
            again = again.model_copy(update={"until": Until.TIME, "due_ms": entry.due_ms})
            if entry.due_ms:
                changes.put(state.due_key(entry.due_ms, key), b"1")
        changes.put(key, again.encode())
        resumed.append((key, again))
    return resumed


def in_order(view: View) -> list[bytes]:
    """Return the keys of all suspended work, in the order in which its events came."""
    entries = ((key, Suspended.decode(value)) for key, value in view.items(state.SUSPENDED))
    placed = [(entry.since_ms, entry.offset, key) for key, entry in entries]
    return [key for _, _, key in sorted(placed)]


def await_resume(changes: Overlay, run_id: str) -> None:
    """Let a run's suspended work wait until the run is resumed."""
    for prefix in _prefixes(run_id):
        for key, value in list(changes.items(prefix)):
            entry = Suspended.decode(value)
            _remove(changes, key, entry)
            # The time of a wait for an event goes on.
            due_ms = entry.due_ms if entry.wait is not None else 0
            kept = entry.model_copy(update={"until": Until.RESUME, "due_ms": due_ms})
            changes.put(state.awaiting_prefix(run_id) + key[len(prefix) :], kept.encode())


def remove(changes: Overlay, run_id: str) -> None:
    """Remove a run's suspended work."""
    for prefix in _prefixes(run_id):
        for key, value in list(changes.items(prefix)):
            if says(value, _DUE):
                _remove(changes, key, Suspended.decode(value))
            else:
                changes.delete(key)


def says(value: bytes, text: bytes) -> bool:
    """Tell whether *text* is in the JSON of a state value.

    Most of the value may be the event of the step: that is not looked through.
    """
    return value.find(text, 0, value.find(b"\0")) >= 0


def waits_for_event(value: bytes) -> bool:
    """Tell whether the work of a state value waits for an event."""
    return says(value, _WAIT)


def _prefixes(run_id: str) -> tuple[bytes, bytes]:
    return state.suspended_prefix(run_id), state.waiting_prefix(run_id)


def _remove(changes: Overlay, key: bytes, entry: Suspended) -> None:
    changes.delete(key)
    if entry.due_ms:
        changes.delete(state.due_key(entry.due_ms, key))


def with_epoch(headers: Iterable[tuple[str, Any]], epoch: int) -> list[tuple[str, Any]]:
    """Return a record's headers, also those that are unknown here, with another epoch."""
    kept = [header for header in headers if header[0] != envelopes.EPOCH]
    return [*kept, (envelopes.EPOCH, b"%d" % epoch)]
