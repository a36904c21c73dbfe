"""The history of a workflow: one record for each attempt."""

from fleet.engine.transitions.draft import Draft, Work
from fleet.records.envelope import Envelope
from fleet.records.lifecycle import StepRecord
from fleet.records.log import Outgoing
from fleet.records.topics import Topics


def note(draft: Draft, topics: Topics, work: Work, step: StepRecord) -> None:
    """Write an attempt into the workflow's history."""
    envelope = work.envelope
    headers = Envelope(
        run_id=envelope.run_id,
        event_id=envelope.event_id,
        type=StepRecord.kind,
        epoch=envelope.epoch,
        parent_id=envelope.parent_id,
    ).headers()
    record = Outgoing(topics.history, envelope.run_id.encode(), step.encode(), headers)
    draft.records.append(record)
    if draft.results and draft.results[-1].work is work:
        draft.results[-1].history = record
