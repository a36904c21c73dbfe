"""
Dead letters: what cannot be processed, with its reason.

Every dead letter is made here: its record, and its entry in the draft, by which it is counted once
its commit is acknowledged.
"""

from fleet.engine.transitions import sizes
from fleet.engine.transitions.draft import Draft
from fleet.records.dead_letter import HEADER, DeadLetter, Reason
from fleet.records.envelope import MAX_ID_BYTES, Envelope
from fleet.records.lifecycle import Failed
from fleet.records.log import Delivered, Outgoing
from fleet.records.topics import Topics
from fleet.workflow.failing import exceptions


def append(  # noqa: PLR0913 - the last one by name, and of joins alone
    draft: Draft,
    topics: Topics,
    record: Delivered,
    reason: Reason,
    failed: Failed,
    *,
    joined: int | None = None,
) -> None:
    """Append a dead letter of *record*, and count it with the commit.

    *joined*: how many events a join had.
    """
    letter = DeadLetter(
        reason=reason,
        step=failed.step,
        attempts=failed.attempt,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        failure=failed.failure,
        joined=joined,
    )
    draft.letters.append(((record.key or b"").decode(errors="replace"), letter))
    draft.records.append(_with_original(topics.dead, record, letter.encode()))


def append_too_large(
    draft: Draft, topics: Topics, record: Delivered, envelope: Envelope, error: sizes.RecordTooLarge
) -> None:
    """Append a dead letter of an event that is too large to be suspended."""
    failed = Failed(
        step=envelope.step,
        event_id=envelope.event_id,
        attempt=0,
        failure=exceptions.describe(error),
    )
    append(draft, topics, record, Reason.TOO_LARGE, failed)


def _with_original(topic: str, record: Delivered, note: bytes) -> Outgoing:
    """Return a dead letter with as much of the original as fits; the note says where it is."""
    key, value = record.key or b"", record.value or b""
    for parts in ((key, value, record.headers), (key, b"", record.headers)):
        letter = Outgoing(topic, parts[0], parts[1], [*parts[2], (HEADER, note)])
        if sizes.size(letter) <= sizes.MAX_RECORD_BYTES:
            return letter
    key = key if len(key) <= MAX_ID_BYTES else b""
    return Outgoing(topic, key, b"", [(HEADER, note)])
