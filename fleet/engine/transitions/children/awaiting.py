"""
How a step awaits runs, and how their ends come back.

The step is suspended work that no time wakes. A run's end comes as a record of the inbox.
It is noted once, as what the call gave, and the step runs again from its top.
"""

from collections.abc import Iterable

from fleet.engine.transitions import journal, timed
from fleet.engine.transitions.children.starting import noted
from fleet.engine.transitions.draft import Draft, Work
from fleet.engine.transitions.suspended import Suspended
from fleet.engine.transitions.timed import Due
from fleet.records import state
from fleet.records.calls import Call
from fleet.records.envelope import Envelope
from fleet.records.lifecycle import Completed
from fleet.records.log import Delivered
from fleet.records.nested.caller import Told
from fleet.records.nested.child import KIND, Child
from fleet.workflow.suspending import ChildWait


def begin(draft: Draft, work: Work, until: ChildWait, now_ms: int) -> None:
    """Let a step await the ends of runs; with one that has ended meanwhile it runs at once.

    Raises RecordTooLarge if the step's own event is too large to be kept.
    """
    found = [noted(draft.state, work, call) for call in until.calls]
    has_ended = any(child is None or not child.is_open for child in found)
    due_ms = now_ms if has_ended else 0
    timed.suspend(draft, work, Due(due_ms, work.tries, children=until.children), now_ms)


def end(
    draft: Draft, record: Delivered, envelope: Envelope, now_ms: int
) -> list[tuple[bytes, Suspended]] | None:
    """Note the end of a run for the step that awaits it; return what runs now, with its keys.

    None if no step awaits it: it comes again, or late.
    """
    told, run_id = Told.read(envelope.told), envelope.run_id
    key = state.call_key(run_id, told.event_id, envelope.step, told.call)
    value = draft.state.get(key)
    child = Child.decode(value) if value is not None else None
    if child is None or not child.takes(told.run_id, told.kind):
        return None
    draft.state.put(key, child.with_end(told.kind, record.value or b"").encode())
    waiting = state.waiting_key(run_id, told.event_id, envelope.step)
    entry = draft.state.get(waiting)
    if entry is None:
        return []
    suspended = Suspended.decode(entry)
    # It may sleep, or wait for an event: then it asks for the run when that is over.
    return [timed.run_now(draft, waiting, suspended, now_ms)] if suspended.children else []


def failed(draft: Draft, work: Work, calls: Iterable[Call]) -> None:
    """Let runs give nothing any more whose errors the failed step has got.

    Its next attempt starts them again. What others have given stays.
    """
    for call in calls:
        child = noted(draft.state, work, call) if call.kind == KIND else None
        if child is not None and child.ended not in ("", Completed.kind):
            journal.set_aside(draft.state, work, call, child.encode())
            draft.state.put(journal.key(work, call), child.voided().encode())
