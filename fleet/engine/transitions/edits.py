"""
Edits of the context: what a block of `edit_state()` has changed, once for its event and step.

An edit is committed by itself, before its step goes on, with a note of what it replaced. If the
step runs again for its event, the note tells that the edit was made, and what its block saw. The
step's result removes the notes.
"""

from pydantic_core import from_json, to_json

from fleet.engine.transitions import refused, runs, sizes
from fleet.engine.transitions.draft import Draft, Work
from fleet.engine.transitions.refused import Result
from fleet.records import state
from fleet.records.state import Overlay, View
from fleet.workflow.context_state import leaves
from fleet.workflow.editing import Edit, Leaves


def make(draft: Draft, work: Work, number: int, edit: Edit) -> None:
    """Make the *number*-th edit of a step for its event; raise RecordTooLarge."""
    run_id, note = work.envelope.run_id, _encoded(edit.before)
    prefix = state.context_prefix(run_id)
    what = f"edit {number} of step {work.step.name}"
    changes = {prefix + path.encode(): value for path, value in edit.changes.items()}
    noted = {_key(work, number): note}
    size = sizes.check_changes(f"what {what} replaces", noted)
    sizes.check_result(what, (), size + sizes.check_changes(what, changes))
    part = Overlay(draft.state)
    leaves.apply(part, changes, prefix)
    part.put(_key(work, number), note)
    # From here on nothing can be refused.
    refused.add(draft, Result(work, [], part.changes, call=name(number)))
    draft.state.written += part.written
    runs.mark_context(draft.state, run_id)
    runs.mark_held(draft.state, run_id)


def name(number: int) -> str:
    """Return the name of the *number*-th edit among what its step commits while it runs."""
    return f"edit {number}"


def replaced(view: View, work: Work, number: int) -> Leaves | None:
    """Return what the *number*-th edit of a step replaced, if it was made."""
    note = view.get(_key(work, number))
    return _decoded(note) if note is not None else None


def settle(part: Overlay, work: Work, count: int) -> None:
    """Remove the notes of the *count* edits of a step that has its result."""
    for number in range(1, count + 1):
        part.discard(_key(work, number))


def forget(part: Overlay, work: Work) -> None:
    """Remove the notes of all edits of a step that does not run again for its event."""
    part.delete_all(_key(work, 0)[:-1])


def remove(draft: Draft, run_id: str) -> None:
    """Remove the notes of a run's edits."""
    draft.state.delete_all(state.edits_prefix(run_id))


def _key(work: Work, number: int) -> bytes:
    envelope = work.envelope
    return state.edit_key(envelope.run_id, envelope.event_id, work.step.name, number)


def _encoded(before: Leaves) -> bytes:
    return to_json({path: None if was is None else was.decode() for path, was in before.items()})


def _decoded(note: bytes) -> Leaves:
    before = from_json(note)
    return {path: None if was is None else was.encode() for path, was in before.items()}
