"""What a record of `runs` does: a run ends, and is resumed, only by what is read there."""

from fleet.engine.transitions import ends, resume
from fleet.engine.transitions.draft import Draft, Due, Ended, RunResumed
from fleet.records.envelope import Envelope
from fleet.records.lifecycle import Lifecycle, Resumed, Started
from fleet.records.log import Delivered
from fleet.records.topics import Topics


def take(
    draft: Draft, topics: Topics, record: Delivered, envelope: Envelope, happening: Lifecycle
) -> Ended | Due | RunResumed | None:
    """Take a lifecycle record; return what must happen beside the commit."""
    if isinstance(happening, Started):
        return ends.set_deadline(draft, record, envelope, happening)
    if isinstance(happening, Resumed):
        return resume.resume(draft, topics, record, envelope, happening)
    if happening.terminal:
        return ends.conclude(draft, topics, record, envelope, happening)
    return None
