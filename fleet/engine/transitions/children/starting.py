"""
How a step starts a run that it awaits: its start event and the note of it are one commit.

The run's id is made of the step, its event and the call. So a repeated attempt starts no second
one: it finds the note, or makes the same run again of which nothing was committed.
"""

from typing import NamedTuple

from fleet.engine.transitions import journal, refused, runs, sizes
from fleet.engine.transitions.draft import Draft, Work
from fleet.engine.transitions.refused import Result
from fleet.records.calls import Call
from fleet.records.envelope import Envelope, child_run_id
from fleet.records.log import Outgoing
from fleet.records.nested.caller import MOST_NESTED, Caller
from fleet.records.nested.child import Child
from fleet.records.partitions import partition_of
from fleet.records.state import View
from fleet.records.topics import Topics
from fleet.workflow.errors import WorkflowRuntimeError


class NestedTooDeep(WorkflowRuntimeError):
    """Raised by `ctx.run_workflow` in a run that is inside of too many others.

    What to do: End the recursion: a run that awaits its own workflow needs a case that does not.
    """

    def __init__(self, workflow: str) -> None:
        super().__init__(
            f"{workflow} is not started: this run is inside of {MOST_NESTED} others already; a "
            "workflow that runs itself needs a case in which it does not"
        )


class Target(NamedTuple):
    """The workflow to run, and with what."""

    #: `<prefix>.<workflow>`, in which its topics are.
    workflow: str
    partitions: int
    #: Its start event: the type's name and the value.
    type: str
    value: bytes
    #: None: it has no time limit of its own.
    timeout_seconds: float | None


def start(  # noqa: PLR0913 - a call, its target, and the time
    draft: Draft,
    topics: Topics,
    work: Work,
    call: Call,
    target: Target,
    now_ms: float,
) -> Child:
    """Start a run, of which the step has none for this call; raise RecordTooLarge, NestedTooDeep.

    The run gets at most the time that its parent has left.
    """
    before = noted(draft.state, work, call)
    child = _child(work, call, target, before.earlier + 1 if before is not None else 0)
    caller = _caller(draft.state, topics, work, call)
    if caller.depth > MOST_NESTED:
        raise NestedTooDeep(target.workflow.rpartition(".")[2])
    envelope = Envelope(
        run_id=child.run_id,
        event_id=child.run_id,
        type=target.type,
        timeout_seconds=_seconds(draft.state, work, target.timeout_seconds, now_ms),
        traceparent=work.envelope.traceparent,
        caller=caller.written(),
    )
    topic, key = f"{target.workflow}.{target.type}", child.run_id.encode()
    record = Outgoing(topic, key, target.value, envelope.headers(), child.partition)
    sizes.checked(record, f"the start event of {target.workflow.rpartition('.')[2]}")
    changes: dict[bytes, bytes | None] = {journal.key(work, call): child.encode()}
    refused.add(draft, Result(work, [record], changes, call=journal.name(call)))
    runs.mark_held(draft.state, work.envelope.run_id)
    runs.mark_children(draft.state, work.envelope.run_id)
    return child


def noted(view: View, work: Work, call: Call) -> Child | None:
    """Return what is noted of a call; None: it has started no run."""
    value = journal.read(view, work, call)
    return Child.decode(value) if value is not None else None


def _child(work: Work, call: Call, target: Target, earlier: int) -> Child:
    envelope = work.envelope
    place = envelope.run_id, envelope.event_id, work.step.name, call.name
    run_id = child_run_id(*place, str(envelope.epoch), str(earlier))
    partition = partition_of(run_id, target.partitions)
    return Child(run_id=run_id, workflow=target.workflow, partition=partition, earlier=earlier)


def _caller(view: View, topics: Topics, work: Work, call: Call) -> Caller:
    run = runs.run_of(view, work.envelope.run_id)
    around = Caller.read(run.caller).depth if run is not None and run.caller else 0
    return Caller(
        workflow=f"{topics.prefix}.{topics.workflow}",
        run_id=work.envelope.run_id,
        partition=work.record.partition,
        event_id=work.envelope.event_id,
        step=work.step.name,
        call=call.name,
        depth=around + 1,
    )


def _seconds(view: View, work: Work, own: float | None, now_ms: float) -> float | None:
    """Return how long the run may take: no longer than its parent."""
    run = runs.run_of(view, work.envelope.run_id)
    if run is None or run.timeout_seconds is None:
        return own
    left = (run.deadline_ms - now_ms) / 1000 if run.deadline_ms else run.timeout_seconds
    # With nothing left the parent ends in this moment, and cancels the run.
    return max(0.001, left if own is None else min(own, left))
