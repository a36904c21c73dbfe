"""How an event enters its run: a start begins it, an event may come before the start."""

from fleet.engine.transitions import runs
from fleet.engine.transitions.children import telling
from fleet.engine.transitions.draft import Draft
from fleet.engine.transitions.runs import Admission, Entrance, Run
from fleet.records import state
from fleet.records.envelope import Envelope
from fleet.records.lifecycle import Cancelled
from fleet.records.log import Delivered
from fleet.records.topics import Topics
from fleet.workflow.context_state import leaves


def enter(
    draft: Draft, topics: Topics, record: Delivered, envelope: Envelope, entrance: Entrance
) -> Envelope:
    """Let an event enter its run as it was decided; return its envelope in the run's epoch."""
    if entrance.start is not None:
        _start(draft, topics, envelope, entrance.start)
        return runs.at_epoch(draft.state, envelope)
    if entrance.admission is not Admission.RUN:
        return envelope
    return _attach(draft, record, envelope)


def _start(draft: Draft, topics: Topics, envelope: Envelope, decision: runs.StartDecision) -> None:
    match decision:
        case runs.Begun(run=run, record=started):
            draft.state.put(state.run_key(envelope.run_id), run.encode())
            clear_seen(draft, envelope.run_id)
            draft.append_lifecycle(topics, envelope, started)
        case runs.Repeated(answer=known, epoch=epoch, unbegun=unbegun):
            draft.append_lifecycle(topics, envelope._replace(epoch=epoch), known)
            if unbegun:
                cancelled = Cancelled(reason="it was cancelled before it began")
                telling.tell(draft, envelope.caller, envelope.run_id, epoch, cancelled)
        case runs.Redelivered():
            pass


def admit(draft: Draft, topics: Topics, run_id: str, runs_position: int) -> bool:
    """Let a run begin that has waited for a place; tell whether it had to."""
    run = runs.run_of(draft.state, run_id)
    if run is None or not run.queued or runs.end_of(draft.state, run_id) is not None:
        return False
    begun = runs.admitted(run, runs_position)
    draft.state.put(state.run_key(run_id), begun.run.encode())
    envelope = Envelope(
        run_id=run_id, event_id=run.start_event_id, type=begun.record.kind, epoch=run.epoch
    )
    draft.append_lifecycle(topics, envelope, begun.record)
    return True


def _attach(draft: Draft, record: Delivered, envelope: Envelope) -> Envelope:
    value = draft.state.get(state.run_key(envelope.run_id))
    if value is not None:
        return runs.in_epoch_of(Run.decode(value), envelope)
    _mark_seen(draft, record, envelope)
    return envelope


def _mark_seen(draft: Draft, record: Delivered, envelope: Envelope) -> None:
    """Keep of a run whose start did not come yet that an event of it was seen."""
    key = state.seen_key(envelope.run_id)
    value = draft.state.get(key)
    if envelope.context and value is None:
        leaves.begin(draft.state, envelope.context, state.context_prefix(envelope.run_id))
    # Work of it may be suspended for another version.
    seen = Run.decode(value) if value is not None else Run()
    update = {"seen_ms": record.appended_ms, "epoch": envelope.epoch}
    if envelope.context:
        update["context"] = True
    draft.state.put(key, seen.model_copy(update=update).encode())


def clear_seen(draft: Draft, run_id: str) -> None:
    """Forget that a run was seen without its start."""
    draft.state.discard(state.seen_key(run_id))
