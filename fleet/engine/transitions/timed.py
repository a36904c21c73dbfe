"""
Suspended work that waits for its time: an entry, and a key that says when it is due.

The keys are in the order of their times, so the state itself is the list of what is due next, and
nothing of it is in memory. Due times are broker time: see `fleet.engine.clock`. At its time an
entry becomes suspended work that is due now, in one commit with the removal of its time.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from fleet.engine.transitions import refused, runs, sizes
from fleet.engine.transitions.draft import Draft, Work
from fleet.engine.transitions.refused import Result
from fleet.engine.transitions.suspended import Suspended, Tries, Until
from fleet.records import state
from fleet.records.state import Overlay


class Due(NamedTuple):
    """When a step is run again, and what is known of its attempts."""

    #: Broker time, in unix milliseconds.
    due_ms: int
    tries: Tries | None
    #: What else the state has to know then.
    changes: Mapping[bytes, bytes] = MappingProxyType({})


def suspend(draft: Draft, work: Work, due: Due, now_ms: int) -> None:
    """Let a step wait until its time has come; raise RecordTooLarge if its entry is too large."""
    envelope, step = work.envelope, work.step.name
    entry = Suspended(
        topic=work.record.topic,
        offset=work.record.offset,
        headers=tuple(work.record.headers),
        value=work.record.value or b"",
        step=step,
    )
    update = {"until": Until.TIME, "due_ms": due.due_ms, "tries": due.tries}
    value = entry.resumed(envelope.epoch, now_ms).model_copy(update=update).encode()
    if len(value) > sizes.MAX_RECORD_BYTES:
        what = f"{envelope.type}, kept until step {step} runs again,"
        raise sizes.RecordTooLarge(what, len(value))
    part = Overlay(draft.state)
    key = state.waiting_key(envelope.run_id, envelope.event_id, step)
    part.put(key, value)
    part.put(state.due_key(due.due_ms, key), b"1")
    for noted, told in due.changes.items():
        part.put(noted, told)
    refused.add(draft, Result(work, [], part.changes))
    draft.state.written += part.written
    draft.due(due.due_ms)
    runs.mark_held(draft.state, envelope.run_id)


def wake(draft: Draft, due: bytes, now_ms: int) -> tuple[bytes, Suspended] | None:
    """Let the work run that is *due*, the key of its time; return it with the key of its entry.

    None if it does not wait any more.
    """
    due_ms, waiting = state.due_of(due)
    value = draft.state.get(waiting)
    entry = Suspended.decode(value) if value is not None else None
    if draft.state.get(due) is None:
        return None
    draft.state.delete(due)
    if entry is None or entry.due_ms != due_ms:
        return None
    draft.state.delete(waiting)
    key = state.SUSPENDED + waiting[len(state.WAITING) :]
    woken = entry.model_copy(update={"until": Until.NOW, "since_ms": now_ms, "due_ms": 0})
    draft.state.put(key, woken.encode())
    return key, woken
