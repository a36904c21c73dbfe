"""
Failures that a handler takes: `@catch_error`.

The handler gets an event in the place of what the failed step would have returned: in the same
fan-out, in the commit that closes the failed step. So the run goes on, and a join around waits for
what the handler returns.

How often a handler ran travels with the events that follow from its own. When that is used up, a
failure fails the run, and so does the failure of a handler.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from fleet.engine.transitions import edits, joins, journal, refused, scopes, sizes
from fleet.engine.transitions.children import cancelling
from fleet.engine.transitions.draft import Draft, Wiring, Work
from fleet.engine.transitions.refused import Result
from fleet.records.envelope import (
    MAX_RECOVERIES_BYTES,
    Envelope,
    failure_id,
    written_recoveries,
)
from fleet.records.events import type_name
from fleet.records.lifecycle import Failure
from fleet.records.log import Outgoing
from fleet.records.state import Overlay, View
from fleet.workflow.failing import exceptions, step_failed
from fleet.workflow.failing.step_failed import Input, LastFailure, StepFailedEvent
from fleet.workflow.graph import Graph
from fleet.workflow.steps import Step

if TYPE_CHECKING:
    from fleet.engine.transitions.failures import StepFailed

#: What an entry of suspended work has beside its record, at most, in bytes.
_ENTRY_BYTES = 4_000
#: Characters of a message beside an event that leaves room for no more.
_SHORT_MESSAGE = 200


class Caught(NamedTuple):
    """A failure that a handler takes."""

    handler: str
    failure: "StepFailed"


def catch(draft: Draft, wiring: Wiring, work: Work, failure: "StepFailed") -> bool:
    """Let the step's handler take a failure; tell whether one does."""
    handler = wiring.graph.handler_of.get(work.step.name)
    counts = _counted(work.envelope, handler) if handler is not None else ()
    if handler is None or not counts:
        return False
    child = _child(work, handler, counts)
    record = _record(draft.state, wiring, work, failure, child)
    if record is None:
        return False
    records = [record, *cancelling.of_step(draft.state, work)]
    part = Overlay(draft.state)
    if child.scope:
        scopes.add_items(part, child, [handler])
    _close(part, work)
    caught = Caught(handler.name, failure)
    refused.add(draft, Result(work, records, part.changes, caught=caught))
    draft.state.written += part.written
    return True


def _close(part: Overlay, work: Work) -> None:
    """Remove what the state has of a step that does not run again for its event."""
    scopes.item_done(part, work.envelope, work.step.name)
    joins.consume(part, work)
    edits.forget(part, work)
    journal.forget(part, work)


def _counted(envelope: Envelope, handler: Step) -> tuple[tuple[str, int], ...]:
    """Return the recoveries with another one of *handler*; empty if it may not run again."""
    counts, catches = dict(envelope.recoveries), handler.options.catches
    count = counts.get(handler.name, 0) + 1
    if catches is None or count > catches.max_recoveries:
        return ()
    counted = tuple({**counts, handler.name: count}.items())
    # With more handlers than that in one lineage, the budgets of some could not be kept.
    return counted if len(written_recoveries(counted)) <= MAX_RECOVERIES_BYTES else ()


def _child(work: Work, handler: Step, recoveries: tuple[tuple[str, int], ...]) -> Envelope:
    envelope = work.envelope
    return Envelope(
        run_id=envelope.run_id,
        event_id=failure_id(envelope.event_id, work.step.name),
        type=type_name(StepFailedEvent),
        epoch=envelope.epoch,
        parent_id=envelope.event_id,
        step=handler.name,
        replays=envelope.replays,
        traceparent=envelope.traceparent,
        scope=envelope.scope,
        recoveries=recoveries,
    )


# -- the event ------------------------------------------------------------------------------------


def _record(
    view: View, wiring: Wiring, work: Work, failure: "StepFailed", child: Envelope
) -> Outgoing | None:
    """Return the handler's event, with as much of the failure as fits; None if none does.

    It also has to fit into an entry of suspended work.
    """
    topic, key = wiring.topics.event(child.type), child.run_id.encode()
    for told, event in _tellings(view, wiring.graph, work, exceptions.describe(failure.error)):
        last = LastFailure(
            told,
            work.attempt if failure.attempts is None else failure.attempts,
            failure.elapsed_seconds,
            failure.failed_ms,
        )
        value = step_failed.written(work.step.shown, event, last)
        record = Outgoing(topic, key, value, child.headers())
        if sizes.size(record) <= sizes.MAX_RECORD_BYTES - _ENTRY_BYTES:
            return record
    return None


def _tellings(
    view: View, graph: Graph, work: Work, failure: Failure
) -> Iterator[tuple[Failure, bytes]]:
    """Yield the failure with the event that the step failed on, from long to short."""
    event = _input(view, graph, work)
    yield failure, event
    short = failure.model_copy(
        update={
            "stack": "",
            "args": (),
            "attributes": {},
            "message": failure.message[:_SHORT_MESSAGE],
        }
    )
    yield short, event
    if work.envelope.batch:
        yield failure, step_failed.left_out(joins.count(view, work) or 0)


def _input(view: View, graph: Graph, work: Work) -> bytes:
    if not work.envelope.batch:
        return _named(graph, work.envelope.type, work.record.value or b"{}").written()
    members = joins.members_of(view, work)
    inputs = [_named(graph, member.type, member.value) for member in members]
    if work.step.collect is not None:
        return step_failed.joined(inputs)
    # The one that completed the join.
    last = (one for one, member in zip(inputs, members, strict=True) if _is_last(work, member))
    return next(last, inputs[-1]).written()


def _is_last(work: Work, member: joins.Member) -> bool:
    return member.event_id == work.envelope.parent_id


def _named(graph: Graph, name: str, value: bytes) -> Input:
    kind = graph.type_called(name)
    return Input(name, kind.__module__ if kind is not None else "", value)
