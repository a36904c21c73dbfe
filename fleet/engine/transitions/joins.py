"""
Joins: steps that take several events at once.

A join has its events in the state, an entry each, until it fires and its step has succeeded. A step
with a parameter `list[E]` fires once for a scope: when the scope is done, or with the n-th event if
it takes n. A step with several event parameters fires whenever it has an event for each of them,
the oldest first; events of different scopes never meet.

A join that fires is suspended work, due now. It names its batch and has none of the events, so no
record grows with a fan-out.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

from fleet.engine.transitions import runs, scopes, sizes
from fleet.engine.transitions.draft import Draft, Wiring, Work
from fleet.engine.transitions.scopes import Place, Scope
from fleet.engine.transitions.suspended import Suspended, Until
from fleet.records import state
from fleet.records.envelope import Envelope, batch_event_id, batch_id
from fleet.records.events import Event, UndecodableEvent, decoded
from fleet.records.state import View
from fleet.records.topics import Topics
from fleet.workflow.collect import Take
from fleet.workflow.graph import Graph
from fleet.workflow.steps import Slot, Step

#: In the place of a scope, for events of none.
_NO_SCOPE = "-"


class Committed(Protocol):
    """The committed state."""

    def scan(self, prefix: bytes, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return at most *limit* entries under *prefix* whose keys are greater than *after*."""
        ...


class Fired(NamedTuple):
    """A join that fires: an entry of suspended work, and its key."""

    key: bytes
    entry: Suspended


class Stray(NamedTuple):
    """The event is of no fan-out that the join waits for: it is left out."""


class Member(NamedTuple):
    """An event that a join has."""

    key: bytes
    event_id: str
    type: str
    value: bytes


# -- what a join gets -----------------------------------------------------------------------------


def take(draft: Draft, wiring: Wiring, work: Work) -> Fired | Stray | None:
    """Let a join have the event of *work*; return the join if it fires with it.

    Raises RecordTooLarge if an entry cannot hold the event.
    """
    envelope, step = work.envelope, work.step
    is_list = step.collect is not None
    taken = _take_member(draft, work) if is_list else _take_parameter(draft, wiring, work)
    scopes.item_done(draft.state, envelope, step.name)
    scopes.note(draft, envelope.run_id, envelope.scope)
    return taken


def _take_member(draft: Draft, work: Work) -> Stray | None:
    envelope, name = work.envelope, work.step.name
    scope = scopes.scope_of(draft.state, envelope.run_id, envelope.scope)
    if scope is None or all(join != name for join, _ in scope.joins):
        return Stray()
    # One that takes n has fired: it gets none of the rest.
    if name not in scope.fired:
        _keep(draft, work, envelope.scope)
    return None


def _keep(draft: Draft, work: Work, batch: str) -> Member:
    envelope, value = work.envelope, work.record.value or b""
    prefix = state.member_prefix(envelope.run_id, batch, work.step.name)
    # An event from outside has no order.
    order = envelope.order or work.record.appended_ms * 1_000 + work.record.offset % 1_000
    key = b"%b%016d\0%b" % (prefix, order, envelope.event_id.encode())
    entry = b"%b\0%b" % (envelope.type.encode(), value)
    if len(key) + len(entry) > sizes.MAX_RECORD_BYTES:
        raise sizes.RecordTooLarge(f"{envelope.type}, kept for a join,", len(entry))
    draft.state.put(key, entry)
    runs.mark_held(draft.state, envelope.run_id)
    return _member(key, entry)


def _member(key: bytes, entry: bytes) -> Member:
    kind, _, value = entry.partition(b"\0")
    return Member(key, key.rsplit(b"\0", 1)[1].decode(), kind.decode(), value)


def _members(view: View, run_id: str, batch: str, step: str) -> list[Member]:
    prefix = state.member_prefix(run_id, batch, step)
    return [_member(key, entry) for key, entry in view.items(prefix)]


# -- joins with a list ----------------------------------------------------------------------------


def fire_due(
    draft: Draft, committed: Committed, wiring: Wiring, place: Place, now_ms: int
) -> list[Fired]:
    """Fire the joins of a scope that have what they wait for, by what is committed.

    A run that ended keeps its scopes as they are; its resume looks at them again.
    """
    run_id, scope_id = place
    run, scope = runs.run_of(draft.state, run_id), scopes.scope_of(draft.state, run_id, scope_id)
    if scope is None or run is None or _is_over(draft.state, run_id):
        return []
    steps = wiring.graph.step_called
    prefix = state.item_prefix(run_id, scope_id)
    done = not committed.scan(prefix, prefix, 1)
    due = [
        (name, event_type)
        for name, event_type in scope.joins
        if name not in scope.fired and (done or _has_enough(committed, steps.get(name), place))
    ]
    key = state.scope_key(run_id, scope_id)
    if done:
        draft.state.delete(key)
    elif due:
        fired = (*scope.fired, *(name for name, _ in due))
        draft.state.put(key, scope.model_copy(update={"fired": fired}).encode())
    envelopes = [_batch_envelope(place, run.epoch, scope, join) for join in due]
    return [_suspend(draft, wiring.topics, envelope, now_ms) for envelope in envelopes]


def _is_over(view: View, run_id: str) -> bool:
    return runs.end_of(view, run_id) is not None


def _has_enough(committed: Committed, step: Step | None, place: Place) -> bool:
    limit = _limit(step) if step is not None else None
    if step is None or limit is None:
        return False
    prefix = state.member_prefix(*place, step.name)
    return len(committed.scan(prefix, prefix, limit)) >= limit


def _limit(step: Step) -> int | None:
    """Return how many events a join with a list takes; None if it takes all of a scope."""
    cardinality = step.collect.cardinality if step.collect is not None else None
    return cardinality.n if isinstance(cardinality, Take) else None


def _batch_envelope(place: Place, epoch: int, scope: Scope, join: tuple[str, str]) -> Envelope:
    run_id, scope_id = place
    name, event_type = join
    return Envelope(
        run_id=run_id,
        event_id=batch_event_id(scope_id, name),
        type=event_type,
        epoch=epoch,
        parent_id=scope.event_id,
        step=name,
        replays=scope.replays,
        traceparent=scope.traceparent,
        recoveries=scope.recoveries,
        scope=scope.outer,
        batch=scope_id,
    )


# -- joins of several parameters ------------------------------------------------------------------


def _take_parameter(draft: Draft, wiring: Wiring, work: Work) -> Fired | None:
    envelope, step = work.envelope, work.step
    pending = envelope.scope or _NO_SCOPE
    _keep(draft, work, pending)
    members = _members(draft.state, envelope.run_id, pending, step.name)
    chosen = _complete(wiring.graph, step, members)
    if not chosen:
        return None
    batch = batch_id(member.event_id for member in chosen)
    prefix = state.member_prefix(envelope.run_id, batch, step.name)
    for number, member in enumerate(chosen):
        draft.state.put(
            b"%b%016d\0%b" % (prefix, number, member.event_id.encode()),
            b"%b\0%b" % (member.type.encode(), member.value),
        )
        draft.state.delete(member.key)
    fired = envelope._replace(
        event_id=batch_event_id(batch, step.name),
        parent_id=envelope.event_id,
        step=step.name,
        timeout_seconds=None,
        context="",
        order=0,
        batch=batch,
    )
    if envelope.scope:
        scopes.add_items(draft.state, fired, [step])
    return _suspend(draft, wiring.topics, fired, work.record.appended_ms)


def _complete(graph: Graph, step: Step, members: Sequence[Member]) -> list[Member]:
    """Return a member for each parameter, the oldest that fit; empty if one is missing."""

    def search(slots: Sequence[Slot], free: Sequence[Member]) -> list[Member] | None:
        if not slots:
            return []
        for member in free:
            event_type = _type(graph, member)
            if any(step.takes_as(event_type, accepted) for accepted in slots[0].types):
                rest = search(slots[1:], [other for other in free if other is not member])
                if rest is not None:
                    return [member, *rest]
        return None

    return search(step.slots, members) or []


# -- what a join that fired is run with -----------------------------------------------------------


def _suspend(draft: Draft, topics: Topics, envelope: Envelope, now_ms: int) -> Fired:
    entry = Suspended(
        topic=topics.event(envelope.type),
        headers=tuple(envelope.headers()),
        step=envelope.step,
        until=Until.NOW,
        since_ms=now_ms,
    )
    key = state.suspended_key(envelope.run_id, envelope.event_id, envelope.step)
    draft.state.put(key, entry.encode())
    runs.mark_held(draft.state, envelope.run_id)
    return Fired(key, entry)


def arguments(view: View, graph: Graph, work: Work) -> dict[str, Any]:
    """Return the events of a join that fired, by parameter; raises UndecodableEvent."""
    step, members = work.step, members_of(view, work)
    if step.collect is not None:
        return {step.slots[0].parameter: [_decoded(graph, member) for member in members]}
    events = (_decoded(graph, member) for member in members)
    return {slot.parameter: event for slot, event in zip(step.slots, events, strict=True)}


def members_of(view: View, work: Work) -> list[Member]:
    """Return the events of a join that fired: those that it takes."""
    run_id, batch = work.envelope.run_id, work.envelope.batch
    return _members(view, run_id, batch, work.step.name)[: _limit(work.step)]


def count(view: View, work: Work) -> int | None:
    """Return how many events a join that fired has; None for other work."""
    run_id, batch = work.envelope.run_id, work.envelope.batch
    if not batch:
        return None
    found = view.items(state.member_prefix(run_id, batch, work.step.name))
    return sum(1 for _ in islice(found, _limit(work.step)))


def _decoded(graph: Graph, member: Member) -> Event:
    return decoded(_type(graph, member), member.value)


def _type(graph: Graph, member: Member) -> type[Event]:
    event_type = graph.type_called(member.type)
    if event_type is None:
        raise UndecodableEvent(member.type, "this version of the workflow has no such event")
    return event_type


def consume(changes: state.Overlay, work: Work) -> None:
    """Remove the events of a join whose step has succeeded."""
    envelope = work.envelope
    if envelope.batch:
        changes.delete_all(state.member_prefix(envelope.run_id, envelope.batch, work.step.name))
