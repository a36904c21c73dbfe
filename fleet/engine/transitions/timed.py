"""
Suspended work that waits for its time: an entry, and a key that says when it is due.

The keys are in the order of their times, so the state itself is the list of what is due next, and
nothing of it is in memory. Due times are broker time: see `fleet.engine.clock`. At its time an
entry becomes suspended work that is due now, in one commit with the removal of its time. A wait for
an event that no event has ended by then has timed out.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from fleet.engine.transitions import refused, runs, sizes, suspended
from fleet.engine.transitions.draft import Draft, Work
from fleet.engine.transitions.refused import Result
from fleet.engine.transitions.suspended import Suspended, Tries, Until
from fleet.records import state
from fleet.records.log import Outgoing
from fleet.records.state import Overlay
from fleet.records.waits import TIMED_OUT, Wait, call_of


class Due(NamedTuple):
    """When a step is run again, and what is known of its attempts."""

    #: Broker time, in unix milliseconds.
    due_ms: int
    tries: Tries | None
    #: What else the state has to know then; None deletes.
    changes: Mapping[bytes, bytes | None] = MappingProxyType({})
    #: The event that it waits for; then `due_ms` may be 0: no time is set.
    wait: Wait | None = None
    #: The runs that it awaits, in words; then `due_ms` may be 0, too.
    children: tuple[str, ...] = ()
    #: What is shown with it.
    records: Sequence[Outgoing] = ()


def suspend(draft: Draft, work: Work, due: Due, now_ms: int) -> None:
    """Let a step wait until its time has come; raise RecordTooLarge if its entry is too large."""
    envelope, step = work.envelope, work.step.name
    entry = Suspended.of(work.record, step)
    update = {"until": Until.TIME, "due_ms": due.due_ms, "tries": due.tries, "wait": due.wait}
    update["children"] = due.children
    value = entry.resumed(envelope.epoch, now_ms).model_copy(update=update).encode()
    if len(value) > sizes.MAX_RECORD_BYTES:
        what = f"{envelope.type}, kept until step {step} runs again,"
        raise sizes.RecordTooLarge(what, len(value))
    part = Overlay(draft.state)
    key = state.waiting_key(envelope.run_id, envelope.event_id, step)
    part.put(key, value)
    for noted, told in due.changes.items():
        if told is None:
            part.delete(noted)
        else:
            part.put(noted, told)
    if due.due_ms:
        part.put(state.due_key(due.due_ms, key), b"1")
        draft.due(due.due_ms)
    refused.add(draft, Result(work, list(due.records), part.changes))
    draft.state.written += part.written
    runs.mark_held(draft.state, envelope.run_id)


def wake(draft: Draft, due: bytes, now_ms: int) -> tuple[bytes, Suspended] | None:
    """Let the work run that is *due*, the key of its time; return it with the key of its entry.

    None if it does not wait any more.
    """
    due_ms, waiting = state.due_of(due)
    if draft.state.get(due) is None:
        return None
    draft.state.delete(due)
    value = draft.state.get(waiting)
    entry = Suspended.decode(value) if value is not None else None
    if entry is None or entry.due_ms != due_ms:
        return None
    if entry.wait is not None:
        draft.state.put(state.noted_key(waiting, call_of(entry.wait).name), TIMED_OUT)
    return run_now(draft, waiting, entry, now_ms)


def is_wait(draft: Draft, due: bytes) -> bool:
    """Tell whether it is a wait for an event whose time has come."""
    _, waiting = state.due_of(due)
    value = draft.state.get(waiting)
    return value is not None and suspended.waits_for_event(value)


def run_now(draft: Draft, waiting: bytes, entry: Suspended, now_ms: int) -> tuple[bytes, Suspended]:
    """Let work run that waits for nothing more; return it with its key."""
    draft.state.delete(waiting)
    if entry.due_ms:
        draft.state.delete(state.due_key(entry.due_ms, waiting))
    key = state.SUSPENDED + waiting[len(state.WAITING) :]
    update = {"until": Until.NOW, "since_ms": now_ms, "due_ms": 0, "wait": None, "children": ()}
    woken = entry.model_copy(update=update)
    draft.state.put(key, woken.encode())
    return key, woken
