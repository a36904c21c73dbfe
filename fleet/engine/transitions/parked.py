"""
Parked work: a step and its event that wait in the state and no longer in a topic.

The event is done in its topic once the entry is committed; the entry goes in the commit of what the
step gives. While its run has ended without a result an entry is frozen, under another prefix, so
that a task which is loaded looks only at what is to be run.

A result that came after its run had ended is kept likewise: resumed, the run ends with it.
"""

from collections.abc import Iterable
from typing import Any, Self

from pydantic import ConfigDict, Field

from fleet.records import envelope as envelopes
from fleet.records import state
from fleet.records.entry import Entry
from fleet.records.log import Delivered
from fleet.records.state import Overlay


class Parked(Entry):
    """A step that is to run for an event, whatever the event's topic has become."""

    model_config = ConfigDict(
        frozen=True, extra="allow", ser_json_bytes="base64", val_json_bytes="base64"
    )

    #: Where the event came from; `runs` for a result that came too late.
    topic: str
    offset: int = -1
    #: Kafka knows headers without a value.
    headers: tuple[tuple[str, bytes | None], ...]
    #: Not in the JSON, which would make it larger than a record may be, but behind it.
    value: bytes = Field(b"", exclude=True)
    #: Empty: whichever steps accept the event, as for one that could not be decoded.
    step: str
    #: Why it waits; `frozen`: for the run to be resumed; `resumed`: to be run; `held`: for a
    #: version of the workflow that has a step for it.
    reason: str = "frozen"
    #: Broker time since when it waits, in unix milliseconds.
    parked_ms: int = 0

    def encode(self) -> bytes:
        """Return the state value: JSON, a NUL, the event's value."""
        return b"%b\0%b" % (super().encode(), self.value)

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a state value."""
        entry, _, event = value.partition(b"\0")
        return super().decode(entry).model_copy(update={"value": event})

    def record(self, partition: int) -> Delivered:
        """Return the event as its topic delivered it, but for the epoch that it was given since."""
        headers = [(name, value) for name, value in self.headers if value is not None]
        return Delivered(
            topic=self.topic,
            partition=partition,
            offset=self.offset,
            appended_ms=self.parked_ms,
            key=dict(headers).get("fleet-run-id", b""),
            value=self.value,
            headers=headers,
        )


def frozen(record: Delivered, step: str) -> bytes:
    """Return the state value of *step*, or of any step where it is empty, that waits frozen."""
    return Parked(
        topic=record.topic,
        offset=record.offset,
        headers=tuple(record.headers),
        value=record.value or b"",
        step=step,
        parked_ms=record.appended_ms,
    ).encode()


def held(record: Delivered, step: str, epoch: int, *, frozen: bool) -> bytes:
    """Return the state value of an event of *epoch* that waits for a version with a step for it."""
    entry = Parked(
        topic=record.topic,
        offset=record.offset,
        headers=tuple(record.headers),
        value=record.value or b"",
        step=step,
    )
    kept = _adopted(entry, epoch, record.appended_ms)
    return kept.model_copy(update={"reason": "frozen" if frozen else "held"}).encode()


def thaw(changes: Overlay, run_id: str, epoch: int, now_ms: int) -> list[tuple[bytes, Parked]]:
    """Let a run's frozen work go on in *epoch*; return it with its keys."""
    prefix = state.frozen_prefix(run_id)
    found = [(key[len(prefix) :], Parked.decode(value)) for key, value in changes.items(prefix)]
    changes.delete_all(prefix)
    thawed = [
        (state.parked_prefix(run_id) + key, _adopted(parked, epoch, now_ms))
        for key, parked in found
    ]
    for key, parked in thawed:
        changes.put(key, parked.encode())
    return thawed


def freeze(changes: Overlay, run_id: str) -> None:
    """Let a run's parked work wait until it is resumed."""
    prefix = state.parked_prefix(run_id)
    for key, value in list(changes.items(prefix)):
        parked = Parked.decode(value).model_copy(update={"reason": "frozen"})
        changes.put(state.frozen_prefix(run_id) + key[len(prefix) :], parked.encode())
        changes.delete(key)


def _adopted(parked: Parked, epoch: int, now_ms: int) -> Parked:
    headers = tuple(with_epoch(parked.headers, epoch))
    return parked.model_copy(update={"headers": headers, "reason": "resumed", "parked_ms": now_ms})


def with_epoch(headers: Iterable[tuple[str, Any]], epoch: int) -> list[tuple[str, Any]]:
    """Return a record's headers, also those that are not known here, with another epoch."""
    kept = [each for each in headers if each[0] != envelopes.EPOCH]
    return [*kept, (envelopes.EPOCH, b"%d" % epoch)]
