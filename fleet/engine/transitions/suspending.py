"""Which work is suspended: of a run that ended without a result, and for another version."""

from fleet.engine.transitions import dead_letters, runs, sizes, starts, suspended
from fleet.engine.transitions.draft import Draft, Work
from fleet.engine.transitions.resolve import Held
from fleet.engine.transitions.runs import Admission
from fleet.engine.transitions.suspended import Tries, Until
from fleet.records import state
from fleet.records.envelope import Envelope
from fleet.records.log import Delivered
from fleet.records.topics import Topics


def suspend(draft: Draft, topics: Topics, work: Work) -> None:
    """Suspend a step of a run that ended without a result, until the run is resumed."""
    envelope = work.envelope._replace(step=work.step.name)
    size = keep(draft, work.record, envelope, work.step.name, work.tries)
    if size > sizes.MAX_RECORD_BYTES:
        error = sizes.RecordTooLarge(f"{envelope.type}, kept for when its run is resumed,", size)
        dead_letters.append_too_large(draft, topics, work.record, envelope, error)


def too_large(draft: Draft, topics: Topics, work: Work) -> None:
    """Take an event that is too large for an entry, as one that cannot be processed."""
    envelope, size = work.envelope._replace(step=work.step.name), len(work.record.value or b"")
    error = sizes.RecordTooLarge(f"{envelope.type}, kept for step {work.step.name},", size)
    dead_letters.append_too_large(draft, topics, work.record, envelope, error)


def hold(draft: Draft, topics: Topics, record: Delivered, held: Held) -> bytes:
    """Suspend an event until a version of the workflow has a step for it; return its key.

    An event of a run that ended waits for the run's resume first: its key is empty, and so is that
    of an event that is too large.
    """
    ended = held.entrance.admission is Admission.SUSPEND
    until = Until.RESUME if ended else Until.VERSION
    envelope = starts.enter(draft, topics, record, held.envelope, held.entrance)
    step = held.place or envelope.step
    value = suspended.for_version(record, step, envelope.epoch, until)
    if len(value) > sizes.MAX_RECORD_BYTES:
        error = sizes.RecordTooLarge(f"{envelope.type}, which no step takes yet,", len(value))
        unnamed = envelope._replace(step="")
        dead_letters.append_too_large(draft, topics, record, unnamed, error)
        return b""
    place = envelope.run_id, envelope.event_id, step
    if ended:
        draft.state.put(state.awaiting_key(*place), value)
        return b""
    draft.state.put(state.suspended_key(*place), value)
    runs.mark_held(draft.state, envelope.run_id)
    return state.suspended_key(*place)


def set_aside(draft: Draft, work: Work) -> bytes:
    """Let a step that has to wait do so in the state; return the key of its entry.

    Empty if its event is too large for an entry.
    """
    envelope, step = work.envelope, work.step.name
    value = suspended.for_version(work.record, step, envelope.epoch, Until.NOW)
    if len(value) > sizes.MAX_RECORD_BYTES:
        return b""
    key = state.suspended_key(envelope.run_id, envelope.event_id, step)
    draft.state.put(key, value)
    runs.mark_held(draft.state, envelope.run_id)
    return key


def keep(
    draft: Draft, record: Delivered, envelope: Envelope, step: str, tries: Tries | None = None
) -> int:
    """Suspend a step, or every step if it is empty, until its run is resumed.

    Return the entry's size in bytes; one that is larger than a record may be is not kept.
    """
    value = suspended.until_resume(record, step, tries)
    if len(value) <= sizes.MAX_RECORD_BYTES:
        draft.state.put(state.awaiting_key(envelope.run_id, envelope.event_id, step), value)
    return len(value)
