"""How a run that ended without a result is resumed, in its next epoch."""

from fleet.engine.transitions import journal, runs, scopes, suspended
from fleet.engine.transitions.draft import Draft, RunResumed
from fleet.records import state
from fleet.records.envelope import Envelope
from fleet.records.lifecycle import Resumed, Resumption
from fleet.records.log import Delivered
from fleet.records.topics import Topics


def resume(
    draft: Draft, topics: Topics, record: Delivered, request: Envelope, asked: Resumed
) -> RunResumed | None:
    """Take a resume request of `runs`: answer it, and resume the run unless that is refused."""
    run_id, epoch = request.run_id, request.epoch
    run, end = runs.run_of(draft.state, run_id), runs.end_of(draft.state, run_id)
    refused = runs.refusal(run, end, epoch)
    answer = Resumption(request_id=request.event_id, refused=refused)
    draft.append_lifecycle(topics, request, answer)
    if run is None or refused:
        return None
    resumed = runs.resumed(run, epoch, record.appended_ms)
    draft.state.put(state.run_key(run_id), resumed.encode())
    draft.state.delete(state.end_key(run_id))
    if run.held:
        draft.scopes.update(scopes.open_scopes(draft.state, run_id))
    for event_id, step in asked.fresh:
        journal.drop(draft, run_id, event_id, step)
    work = suspended.resume(draft.state, run_id, epoch, record.appended_ms)
    for _, entry in work:
        if entry.wait is not None and entry.due_ms:
            draft.due(entry.due_ms)
    now = [(key, entry) for key, entry in work if entry.wait is None]
    return RunResumed(run_id, resumed.deadline_ms, now)
