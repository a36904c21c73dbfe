"""
Suspended work for a step that this version of the workflow does not have.

While you deploy, workers of two versions are there, and the other one may have the step: the work
waits in the state, and runs as soon as a worker that has the step loads the partition. But a step
that was renamed or removed comes back only if you act. So the work waits for some hours from when a
worker first missed its step, by broker time; a time that its key of `state.DUE` tells, as of other
suspended work. Then it becomes a dead letter that names the step, and its run fails. Nothing is
lost: the resumed run takes it up again.
"""

from fleet.engine.transitions import dead_letters, runs, sizes, suspended, suspending
from fleet.engine.transitions.draft import Draft, Wiring, Work
from fleet.engine.transitions.suspended import Suspended, Until
from fleet.records import state
from fleet.records.dead_letter import Reason
from fleet.records.envelope import Envelope
from fleet.records.lifecycle import Failed
from fleet.records.log import Delivered
from fleet.records.topics import Topics
from fleet.workflow.errors import UnknownStep
from fleet.workflow.failing import exceptions


def wait(draft: Draft, key: bytes, entry: Suspended, until_ms: int) -> None:
    """Let work wait for a version that has its step, at the longest until a time.

    Nothing changes if its time is set already.
    """
    value = entry.model_copy(update={"due_ms": until_ms}).encode()
    # Without a room for the time it waits until its run ends.
    if entry.due_ms or len(value) > sizes.MAX_RECORD_BYTES:
        return
    draft.state.put(key, value)
    draft.state.put(state.due_key(until_ms, key), b"1")
    draft.due(until_ms)


def hold_items(draft: Draft, wiring: Wiring, work: Work) -> list[tuple[bytes, Suspended]]:
    """Suspend an event of a fan-out for the steps that only the version of its sender has for it.

    Return the entries, with their keys.
    """
    envelope, held = work.envelope, []
    prefix = state.item_key(envelope.run_id, envelope.scope, envelope.event_id, "")
    names = [key[len(prefix) :].decode() for key, _ in draft.state.items(prefix)]
    for name in names:
        if name in wiring.graph.step_called:
            continue
        value = suspended.for_version(work.record, name, envelope.epoch, Until.VERSION)
        if len(value) > sizes.MAX_RECORD_BYTES:
            suspending.too_large(draft, wiring.topics, work)
            continue
        key = state.suspended_key(envelope.run_id, envelope.event_id, name)
        draft.state.put(key, value)
        runs.mark_held(draft.state, envelope.run_id)
        held.append((key, Suspended.decode(value)))
    return held


def passed(draft: Draft, due: bytes) -> tuple[bytes, Suspended] | None:
    """Return the work that has waited for a version until *due*, the key of a time; else None."""
    due_ms, waiting = state.due_of(due)
    key = state.SUSPENDED + waiting[len(state.WAITING) :]
    value = draft.state.get(key)
    entry = Suspended.decode(value) if value is not None else None
    return (key, entry) if entry is not None and entry.due_ms == due_ms else None


def known(draft: Draft, key: bytes, entry: Suspended) -> Suspended:
    """Return work for whose step this version has a step: it waits for no version any more."""
    if not entry.due_ms:
        return entry
    draft.state.delete(state.due_key(entry.due_ms, key))
    found = entry.model_copy(update={"due_ms": 0})
    draft.state.put(key, found.encode())
    return found


def give_up(
    draft: Draft, topics: Topics, record: Delivered, envelope: Envelope, entry: Suspended
) -> None:
    """Make a dead letter of work for a step that no version has; its run fails.

    The work is suspended until the run is resumed.
    """
    tries = entry.tries
    error = UnknownStep(topics.engine_id, entry.step, envelope.type)
    failed = Failed(
        step=entry.step,
        event_id=envelope.event_id,
        attempt=tries.earlier + tries.failed if tries is not None else 0,
        failure=exceptions.describe(error),
    )
    members = state.member_prefix(envelope.run_id, envelope.batch, entry.step)
    joined = sum(1 for _ in draft.state.items(members)) if envelope.batch else None
    dead_letters.append(draft, topics, record, Reason.UNKNOWN_STEP, failed, joined=joined)
    draft.append_lifecycle(topics, envelope, failed)
    draft.state.delete(state.suspended_key(envelope.run_id, envelope.event_id, entry.step))
    suspending.keep(draft, record, envelope, entry.step, tries)
