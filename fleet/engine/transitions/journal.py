"""
Recorded calls: what a step has paid for, kept for its next attempt.

What a call gave is committed by itself, before its step goes on. The step's result removes what
the step asked for; what all steps of a run share, and what no attempt asked for again, goes with
the run. While a run that ended without a result may be resumed, everything stays.
"""

from collections.abc import Iterable, Mapping

from fleet.engine.transitions import refused, runs, sizes
from fleet.engine.transitions.draft import Draft, Work
from fleet.engine.transitions.refused import Result
from fleet.records import calls, state
from fleet.records.calls import Call, Scope
from fleet.records.lifecycle import Failure
from fleet.records.log import Outgoing
from fleet.records.nested.child import KIND
from fleet.records.state import Overlay, View
from fleet.workflow.failing import exceptions

#: Kinds of calls that are made again on request.
_PAID = ("memo", "llm", KIND, calls.SET_ASIDE)


def key(work: Work, call: Call) -> bytes:
    """Return the state key of a call."""
    envelope = work.envelope
    if call.scope is Scope.RUN:
        return state.call_key(envelope.run_id, "", "", call.name)
    return state.call_key(envelope.run_id, envelope.event_id, work.step.name, call.name)


def read(view: View, work: Work, call: Call) -> bytes | None:
    """Return what a call gave, if it is recorded."""
    return view.get(key(work, call))


def put(draft: Draft, work: Work, call: Call, value: bytes) -> None:
    """Record what a call gave; raise RecordTooLarge."""
    changes: dict[bytes, bytes | None] = {key(work, call): value}
    what = f"what {call.name!r} of step {work.step.name} gave"
    sizes.check_result(what, (), sizes.check_changes(what, changes))
    # From here on nothing can be refused.
    refused.add(draft, Result(work, [], changes, call=name(call)))
    draft.state.written += len(value)
    runs.mark_held(draft.state, work.envelope.run_id)


def name(call: Call) -> str:
    """Return the name of a call among what its step commits while it runs."""
    return f"{call.scope} {call.name}"


def settle(part: Overlay, work: Work, asked: Iterable[Call]) -> None:
    """Remove what is recorded of the calls of a step that has its result."""
    for call in asked:
        part.discard(key(work, call))
    _drop_set_aside(part, work)


def refuse(part: Overlay, work: Work, last: Iterable[Call]) -> None:
    """Set the answers to its *last* calls aside, which a step that failed may have refused."""
    _drop_set_aside(part, work)
    for call in last:
        found = part.get(key(work, call))
        if found is None:
            continue
        part.delete(key(work, call))
        set_aside(part, work, call, found)


def fail(part: Overlay, work: Work, failed: Mapping[Call, Exception]) -> None:
    """Keep what calls have raised for an export, beside the answers that were refused."""
    for call, error in failed.items():
        if call.scope is Scope.STEP:
            # The stack is in the record of the step's failure.
            told = exceptions.describe(error).model_copy(update={"stack": ""})
            set_aside(part, work, call, calls.FAILED + told.model_dump_json().encode())
            runs.mark_held(part, work.envelope.run_id)


def failure(recorded: bytes | None) -> Failure | None:
    """Return what a call has raised, as only the replay of a run has it; None if it has not."""
    if recorded is None or not recorded.startswith(calls.FAILED):
        return None
    return Failure.model_validate_json(recorded[len(calls.FAILED) :])


def set_aside(part: Overlay, work: Work, call: Call, value: bytes) -> None:
    """Keep what a call gave for an export alone, after a failure that may come of it."""
    aside = _set_aside_key(work, call.name)
    # Its key is a little longer, and nothing needs it but an export.
    if sizes.fits(Outgoing("", aside, value, [])):
        part.put(aside, value)


def forget(part: Overlay, work: Work) -> None:
    """Remove what is recorded of a step that does not run again for its event."""
    envelope = work.envelope
    part.delete_all(state.call_key(envelope.run_id, envelope.event_id, work.step.name, ""))


def _drop_set_aside(part: Overlay, work: Work) -> None:
    # Most steps have not failed, and for them nothing is looked for.
    if work.tries is not None:
        part.delete_all(_set_aside_key(work, ""))


def _set_aside_key(work: Work, call: str) -> bytes:
    envelope, name = work.envelope, f"{calls.SET_ASIDE} {call}"
    return state.call_key(envelope.run_id, envelope.event_id, work.step.name, name)


def drop(draft: Draft, run_id: str, event_id: str, step: str) -> None:
    """Remove what a step has paid for on an event: values, answers and results, not its waits."""
    if not event_id or not step:
        # That would be what all steps of the run share.
        return
    for kind in _PAID:
        draft.state.delete_all(state.call_key(run_id, event_id, step, f"{kind} "))


def remove(draft: Draft, run_id: str) -> None:
    """Remove everything that is recorded of a run's calls."""
    draft.state.delete_all(state.calls_prefix(run_id))
