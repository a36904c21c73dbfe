"""
Waits of steps for events: how a wait begins, which events end it, and how it ends.

A waiting step is suspended work that no time or no step need wake: an event that matches it does.
That is decided when the event is delivered. All steps that wait for it then have it, once: the
event is recorded as what their wait gave, and they run again from their top. Whatever order the
wait and its answer come in, one of both finds the other.
"""

from typing import NamedTuple

from fleet.engine.transitions import journal, runs, scopes, sizes, suspended, timed
from fleet.engine.transitions.draft import Draft, Wiring, Work
from fleet.engine.transitions.suspended import Suspended
from fleet.engine.transitions.timed import Due
from fleet.engine.transitions.waiting import answers, questions
from fleet.records import state
from fleet.records.envelope import Envelope, child_id
from fleet.records.log import Delivered, Outgoing
from fleet.records.state import View
from fleet.records.waits import Answer, Wait, call_of
from fleet.workflow.waiting import EventWait


class Waiting(NamedTuple):
    """A step that waits, and its entry."""

    key: bytes
    entry: Suspended


def begin(draft: Draft, wiring: Wiring, work: Work, until: EventWait, now_ms: int) -> None:
    """Let a step wait for an event; one that has come before ends the wait at once.

    Raises RecordTooLarge if the step's own event, or the question, is too large to be kept.
    """
    envelope, name = work.envelope, work.step.name
    subclasses = work.step.options.accept_event_subclasses
    wait = until.wait.model_copy(update={"subclasses": subclasses})
    found = answers.find(draft.state, wiring.topics.inbox, envelope.run_id, wait)
    shown: list[Outgoing] = []
    if until.question is not None:
        asked = envelope._replace(event_id=_question_id(work, wait), step=name)
        shown = [questions.record(wiring.topics, asked, until.question, until.value)]
    if found is None:
        seconds = until.timeout_seconds
        due_ms = 0 if seconds is None else max(1, now_ms + round(seconds * 1000))
        timed.suspend(draft, work, Due(due_ms, work.tries, wait=wait, records=shown), now_ms)
    else:
        noted = {journal.key(work, until.call): found[1].encode()}
        changes: dict[bytes, bytes | None] = {**noted, found[0]: None}
        timed.suspend(draft, work, Due(now_ms, work.tries, changes, records=shown), now_ms)
    runs.mark_waits(draft.state, envelope.run_id)


def _question_id(work: Work, wait: Wait) -> str:
    # As an event of the step that no other has; `child_id` counts those that it sends.
    return child_id(work.envelope.event_id, f"{work.step.name} waits {wait.id}", 0)


# -- what an event ends ---------------------------------------------------------------------------


def matching(view: View, envelope: Envelope, value: bytes, *, ended: bool) -> list[Waiting]:
    """Return the steps that wait for an event; *ended*: those of a run without a result."""
    run_id = envelope.run_id
    if not runs.waits(view, run_id) or len(value) > sizes.MAX_VALUE_BYTES:
        return []
    prefix = state.awaiting_prefix(run_id) if ended else state.waiting_prefix(run_id)
    found = []
    for key, entry in view.items(prefix):
        if not suspended.waits_for_event(entry):
            continue
        one = Suspended.decode(entry)
        is_meant = envelope.step in ("", one.step)
        if is_meant and one.wait is not None and one.wait.matches(envelope.type, value):
            found.append(Waiting(key, one))
    return found


def answer(
    draft: Draft, record: Delivered, envelope: Envelope, found: list[Waiting], now_ms: int
) -> list[tuple[bytes, Suspended]]:
    """Let an event end the waits of these steps; return what runs now, with its keys."""
    value = Answer(envelope.event_id, envelope.type, record.value or b"").encode()
    woken = []
    for key, entry in found:
        assert entry.wait is not None, "it was found by what it waits for"
        draft.state.put(state.noted_key(key, call_of(entry.wait).name), value)
        if key.startswith(state.WAITING):
            woken.append(timed.run_now(draft, key, entry, now_ms))
        else:
            answered = entry.model_copy(update={"wait": None, "due_ms": 0})
            draft.state.put(key, answered.encode())
        # The step would have been run for the event, too.
        scopes.item_done(draft.state, envelope, entry.step)
        scopes.note(draft, envelope.run_id, envelope.scope)
    return woken
