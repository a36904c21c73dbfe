"""
The last context of a run, in the record that completes it, so that callers can read it afterwards.

A completed run's context leaves the state. What counts is the context at the moment at which the
step gave the result. What other branches change after that is not in it, as it has no effect on the
result either. The record has a context of up to MOST_BYTES; of a larger one it has the size.
"""

from pydantic_core import to_json

from fleet.engine.transitions import runs, sizes
from fleet.engine.transitions.draft import Wiring, Work, lifecycle_record
from fleet.records import state
from fleet.records.lifecycle import Completed
from fleet.records.log import Outgoing
from fleet.records.state import View
from fleet.workflow.context_state.leaves import Values, nested, read_all

#: Largest context that a record brings, in bytes of JSON.
MOST_BYTES = 100_000


def carried(view: View, wiring: Wiring, work: Work, event_id: str, result: Completed) -> Outgoing:
    """Return the record of a run's result with the run's context; raise RecordTooLarge.

    *view* has what the step itself has changed.
    """

    def record(completed: Completed) -> Outgoing:
        return lifecycle_record(wiring.topics, work.envelope, event_id, completed)

    run = runs.run_of(view, work.envelope.run_id)
    prefix = state.context_prefix(work.envelope.run_id)
    found = Values(view, prefix).kept("") if run is None or run.context else {}
    if not found:
        return sizes.checked(record(result), result.event_type)
    size = sum(map(len, found.values()))
    if size <= MOST_BYTES:
        context = to_json(nested(read_all(found)))
        size = len(context)
        whole = record(result.model_copy(update={"context": context.decode()}))
        if size <= MOST_BYTES and sizes.fits(whole):
            return whole
    without = record(result.model_copy(update={"context_bytes": size}))
    return sizes.checked(without, result.event_type)
