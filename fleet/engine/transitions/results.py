"""What a step returns: its events, its result, its changes of the context; all of it or nothing."""

from fleet.engine.transitions import refused, sizes
from fleet.engine.transitions.draft import Draft, Wiring, Work, lifecycle_record
from fleet.engine.transitions.outcomes import Returned, Sent
from fleet.engine.transitions.refused import Result
from fleet.records import state
from fleet.records.envelope import Envelope, child_id
from fleet.records.events import encoded, type_name
from fleet.records.lifecycle import Completed
from fleet.records.log import Outgoing
from fleet.records.state import Overlay
from fleet.workflow import store
from fleet.workflow.errors import UnroutableEvent
from fleet.workflow.graph import Graph


def returned(draft: Draft, wiring: Wiring, work: Work, outcome: Returned) -> None:
    """Take a step's result; raises WorkflowRuntimeError if it cannot be taken."""
    run = f"the context of run {work.envelope.run_id}"
    records = [_routed(wiring, work, index, sent) for index, sent in enumerate(outcome.sent)]
    changes_size = sizes.check_changes(run, outcome.changes)
    sizes.check_result(f"what step {work.step.name} sends and keeps", records, changes_size)
    part = Overlay(draft.state)
    store.apply(part, outcome.changes, state.context_prefix(work.envelope.run_id))
    # From here on nothing can be refused, so the draft has all of the result or nothing.
    refused.add(draft, Result(work, records, part.changes))
    draft.state.written += part.written


def _routed(wiring: Wiring, work: Work, index: int, sent: Sent) -> Outgoing:
    """Return the record of the *index*-th event that a step sends."""
    envelope, name = work.envelope, type_name(sent.event)
    value = sent.value or encoded(sent.event, wiring.graph.result)
    event_id = child_id(envelope.event_id, work.step.name, index)
    if wiring.graph.is_result(sent.event):
        result = Completed(step=work.step.name, event_type=name, event=value.decode())
        record = lifecycle_record(wiring.topics, envelope, event_id, result)
        return sizes.checked(record, name)
    if not _is_accepted(wiring.graph, sent):
        raise UnroutableEvent(work.step.name, name, sent.step)
    child = Envelope(
        run_id=envelope.run_id,
        event_id=event_id,
        type=name,
        epoch=envelope.epoch,
        parent_id=envelope.event_id,
        step=sent.step or "",
        replays=envelope.replays,
        traceparent=envelope.traceparent,
    )
    key, topic = envelope.run_id.encode(), wiring.topics.event(name)
    return sizes.checked(Outgoing(topic, key, value, child.headers()), name)


def _is_accepted(graph: Graph, sent: Sent) -> bool:
    accepting = graph.accepting.get(type_name(sent.event), ())
    return any(sent.step in (None, step.name) for step in accepting)
