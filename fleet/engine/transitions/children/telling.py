"""
How the step that awaits a run hears of its end: in the commit that notes the end.

The record goes to the inbox of the step's workflow, in the partition of the step's run.
"""

from fleet.engine.transitions import sizes
from fleet.engine.transitions.draft import Draft
from fleet.records.envelope import Envelope, end_id
from fleet.records.lifecycle import Completed, Failed, Lifecycle
from fleet.records.log import Outgoing
from fleet.records.nested.caller import ENDED, Caller, Told
from fleet.workflow.failing import exceptions


def tell(draft: Draft, caller: str, run_id: str, epoch: int, terminal: Lifecycle) -> None:
    """Tell the step that awaits a run, if one does, how the run has ended."""
    if not caller:
        return
    record = _record(Caller.read(caller), run_id, epoch, _for_step(terminal))
    if not sizes.fits(record):
        error = _too_large(run_id, len(record.value or b""))
        record = _record(Caller.read(caller), run_id, epoch, error)
    draft.records.append(record)


def _record(caller: Caller, run_id: str, epoch: int, terminal: Lifecycle) -> Outgoing:
    told = Told(
        run_id=run_id,
        epoch=epoch,
        kind=terminal.kind,
        event_id=caller.event_id,
        call=caller.call,
    )
    envelope = Envelope(
        run_id=caller.run_id,
        event_id=end_id(run_id, epoch),
        type=ENDED,
        step=caller.step,
        told=told.written(),
    )
    topic, key = f"{caller.workflow}.inbox", caller.run_id.encode()
    return Outgoing(topic, key, terminal.encode(), envelope.headers(), caller.partition)


def _for_step(terminal: Lifecycle) -> Lifecycle:
    """Return an end without what concerns callers alone: the run's context."""
    if not isinstance(terminal, Completed):
        return terminal
    return terminal.model_copy(update={"context": "", "context_bytes": 0})


def _too_large(run_id: str, size: int) -> Failed:
    error = sizes.RecordTooLarge(
        f"the result of run {run_id}, told to the step that awaits it,", size
    )
    return Failed(step="", event_id="", failure=exceptions.describe(error))
