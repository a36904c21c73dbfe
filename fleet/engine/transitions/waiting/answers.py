"""
Answers that come before their wait: they stay in the state of their run, until a wait takes them.

Nothing says which events a step will wait for. So every event from outside that no step accepts is
kept, the first of a run up to a bound. What is more than that is dropped, and never fails a run.
"""

from collections.abc import Iterator

from fleet.engine.transitions import runs, suspended
from fleet.engine.transitions.draft import Draft
from fleet.engine.transitions.suspended import Suspended
from fleet.records import state
from fleet.records.envelope import Envelope
from fleet.records.log import Delivered
from fleet.records.state import View
from fleet.records.waits import Answer, Wait

#: How many answers a run keeps that no step waits for, and their size together, in bytes.
MOST_ANSWERS = 100
MOST_BYTES = 1024 * 1024


def keep(draft: Draft, record: Delivered, envelope: Envelope) -> bool:
    """Keep an event for a wait that may come; tell whether there was room for it."""
    run_id, value = envelope.run_id, record.value or b""
    kept = list(draft.state.items(state.answers_prefix(run_id)))
    if len(kept) >= MOST_ANSWERS or sum(len(one) for _, one in kept) + len(value) > MOST_BYTES:
        return False
    order = record.appended_ms * 1_000 + record.offset % 1_000
    answer = Answer(envelope.event_id, envelope.type, value)
    draft.state.put(state.answer_key(run_id, order, envelope.event_id), answer.encode())
    runs.mark_waits(draft.state, run_id)
    return True


def find(view: View, inbox: str, run_id: str, wait: Wait) -> tuple[bytes, Answer] | None:
    """Return the first answer to a wait that has come already, with its key; None if none has."""
    for key, answer in _all(view, inbox, run_id):
        if wait.matches(answer.type, answer.value):
            return key, answer
    return None


def remove(draft: Draft, run_id: str) -> None:
    """Remove the answers that a run keeps."""
    draft.state.delete_all(state.answers_prefix(run_id))


def _all(view: View, inbox: str, run_id: str) -> Iterator[tuple[bytes, Answer]]:
    for key, value in view.items(state.answers_prefix(run_id)):
        answer = Answer.decode(value)
        if answer is not None:
            yield key, answer
    # From a client that does not say that no step takes it.
    from_inbox = b'"topic":"%b"' % inbox.encode()
    for key, value in view.items(state.suspended_prefix(run_id)):
        if suspended.says(value, from_inbox):
            entry = Suspended.decode(value)
            if not entry.step:
                yield key, _held(entry)


def _held(entry: Suspended) -> Answer:
    headers = {name: value or b"" for name, value in entry.headers}
    event_id, name = headers.get("fleet-event-id", b""), headers.get("fleet-type", b"")
    return Answer(event_id.decode(), name.decode(), entry.value)
