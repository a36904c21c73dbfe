"""What a step returns: its events, its result, its changes of the context; all of it or nothing."""

from typing import NamedTuple

from fleet.engine.transitions import (
    edits,
    final_context,
    joins,
    journal,
    refused,
    runs,
    scopes,
    sizes,
    unhandled,
)
from fleet.engine.transitions.children import cancelling
from fleet.engine.transitions.draft import Draft, Wiring, Work
from fleet.engine.transitions.outcomes import Returned, Sent
from fleet.engine.transitions.refused import Result
from fleet.engine.transitions.waiting import questions
from fleet.records import state
from fleet.records.envelope import Envelope, child_id
from fleet.records.events import HumanResponseEvent, encoded, qualified_name, type_name
from fleet.records.lifecycle import Completed
from fleet.records.log import Outgoing
from fleet.records.state import Overlay, View
from fleet.records.topics import Topics
from fleet.workflow.context_state import leaves
from fleet.workflow.graph import Graph
from fleet.workflow.steps import Step


class Moment(NamedTuple):
    """When a step's result is taken."""

    #: That of its first event; see `Envelope.order`.
    order: int
    #: Whether nothing else of its run is in progress.
    alone: bool = False


def returned(
    draft: Draft, wiring: Wiring, work: Work, outcome: Returned, moment: Moment
) -> list[str]:
    """Take a step's result; raises WorkflowRuntimeError if it cannot be taken.

    Returns the types of events that no step accepts.
    """
    run_id, part = work.envelope.run_id, Overlay(draft.state)
    scope = scopes.opens(wiring.graph, work) if outcome.fans_out else work.envelope.scope
    if outcome.changes:
        runs.mark_context(draft.state, run_id)
        leaves.apply(part, outcome.changes, state.context_prefix(run_id))
    records = []
    for index, sent in enumerate(outcome.sent):
        child = _child(wiring.graph, work, sent, index, scope)
        taking = _taking(wiring.graph, sent)
        if child.scope:
            scopes.add_items(part, child, taking)
        if child.scope or any(step.is_join for step in taking):
            child = child._replace(order=moment.order + index)
        if taking or wiring.graph.is_result(sent.event):
            records.append(_record(part, wiring, work, sent, child))
        elif not questions.is_question(sent.event):
            alone = moment.alone and len(outcome.sent) == 1
            records.append(_unaccepted(draft, wiring.topics, sent, child, alone=alone))
        if questions.is_question(sent.event):
            value = sent.value or encoded(sent.event)
            records.append(questions.record(wiring.topics, child, sent.event, value))
    sizes.check_changes(f"the context of run {run_id}", outcome.changes)
    if outcome.fans_out and scope:
        scopes.open_scope(part, wiring.graph, work, scope)
    _keep(part, work, outcome)
    records += cancelling.of_step(draft.state, work, outcome.calls)
    sizes.check_result(f"what step {work.step.name} sends and keeps", records, part.written)
    # From here on nothing can be refused, so the draft has all of the result or nothing.
    refused.add(draft, Result(work, records, part.changes))
    draft.state.written += part.written
    _note(draft, work, outcome, scope)
    return unhandled.types(wiring.topics, records)


def _keep(part: Overlay, work: Work, outcome: Returned) -> None:
    """Bring into *part* what the attempt changes beside its context and its fan-out."""
    scopes.item_done(part, work.envelope, work.step.name)
    joins.consume(part, work)
    edits.settle(part, work, outcome.edits)
    journal.settle(part, work, outcome.calls)
    for key, value in outcome.collected.changes.items() if outcome.collected else ():
        if value is None:
            part.delete(key)
        else:
            part.put(key, value)


def _note(draft: Draft, work: Work, outcome: Returned, opened: str) -> None:
    """Note what is to be looked at when the draft is committed."""
    run_id = work.envelope.run_id
    scopes.note(draft, run_id, work.envelope.scope)
    if outcome.fans_out:
        scopes.note(draft, run_id, opened)
    if (outcome.fans_out and opened) or outcome.collected:
        runs.mark_held(draft.state, run_id)


# -- its events -----------------------------------------------------------------------------------


def _child(graph: Graph, work: Work, sent: Sent, index: int, scope: str) -> Envelope:
    """Return the envelope of the *index*-th event that a step sends.

    Only what it returned is of its fan-out: `ctx.send_event` adds nothing to one.
    """
    envelope = work.envelope
    return Envelope(
        run_id=envelope.run_id,
        event_id=child_id(envelope.event_id, work.step.name, index),
        type=type_name(sent.event),
        epoch=envelope.epoch,
        parent_id=envelope.event_id,
        step=graph.log_name(sent.step or ""),
        replays=envelope.replays,
        traceparent=envelope.traceparent,
        scope=scope if sent.returned else "",
        recoveries=envelope.recoveries,
    )


def _taking(graph: Graph, sent: Sent) -> list[Step]:
    """Return the steps that take an event; a result has none."""
    if graph.is_result(sent.event):
        return []
    # By name first: that is looked up, and the other is searched for.
    accepting = graph.accepting.get(type_name(sent.event)) or graph.accepting_type(type(sent.event))
    return [step for step in accepting if sent.step is None or sent.step in step.names]


def _unaccepted(
    draft: Draft, topics: Topics, sent: Sent, child: Envelope, *, alone: bool
) -> Outgoing:
    """Return the record of an event that no step accepts: a step may wait for it."""
    full = qualified_name(type(sent.event))
    if isinstance(sent.event, HumanResponseEvent) or runs.waits(draft.state, child.run_id):
        headers = child._replace(unaccepted=full).headers()
        value = sent.value or encoded(sent.event)
        answer = Outgoing(topics.inbox, child.run_id.encode(), value, headers)
        return sizes.checked(answer, child.type)
    return unhandled.record(topics, child, full, idle=alone)


def _record(part: View, wiring: Wiring, work: Work, sent: Sent, child: Envelope) -> Outgoing:
    name, topics = child.type, wiring.topics
    value = sent.value or encoded(sent.event, wiring.graph.result)
    if wiring.graph.is_result(sent.event):
        result = Completed(step=work.step.name, event_type=name, event=value.decode())
        return final_context.carried(part, wiring, work, child.event_id, result)
    # A type that no step names, and a step takes as a subclass, has no topic of its own.
    topic = topics.event(name) if name in wiring.graph.accepting else topics.inbox
    key = child.run_id.encode()
    return sizes.checked(Outgoing(topic, key, value, child.headers()), name)
