"""
Fan-outs whose end a join awaits: which of their work is not done.

A step that returns a list opens a *scope* if a join collects what comes of it. Each step that is
to be done with an event of the scope is an *item*: an entry of its own, so two results in one
commit share none, and taking one of them out changes nothing of the other. A result removes the
item of its step and adds those of the events that it returns, in one commit with these events.

A scope without items is done, and stays so: only work of a scope adds items to it. That is decided
by what is committed. The broker may refuse a result that is only decided.

An inner scope stands in its outer one as the joins that will fire when it is done.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from fleet.records import state
from fleet.records.entry import Entry
from fleet.records.envelope import Envelope, batch_event_id, scope_id
from fleet.records.events import type_name
from fleet.records.state import Overlay, View
from fleet.workflow.graph import Graph
from fleet.workflow.steps import Step

if TYPE_CHECKING:
    from fleet.engine.transitions.draft import Draft, Work


class Place(NamedTuple):
    """A scope of a run, by their ids."""

    run_id: str
    scope: str


class Scope(Entry):
    """An open fan-out."""

    #: The step that returned the list, and the id of the event that it returned it for.
    step: str
    event_id: str
    #: The scope of that event.
    outer: str = ""
    #: The joins that wait for it, with a type that each takes.
    joins: tuple[tuple[str, str], ...]
    #: Those of them that have fired.
    fired: tuple[str, ...] = ()
    replays: int = 0
    traceparent: str = ""
    recoveries: tuple[tuple[str, int], ...] = ()


def scope_of(view: View, run_id: str, scope: str) -> Scope | None:
    """Return an open scope of a run; None if it is done or was never opened."""
    value = view.get(state.scope_key(run_id, scope)) if scope else None
    return Scope.decode(value) if value is not None else None


def opens(graph: Graph, work: "Work") -> str:
    """Return the id of the scope that a list from *work* opens; empty if no join awaits it."""
    if not graph.joins_of.get(work.step.name):
        return ""
    return scope_id(work.envelope.event_id, work.step.name)


def open_scope(changes: Overlay, graph: Graph, work: "Work", scope: str) -> None:
    """Open the scope of a list that *work* returned."""
    envelope, joins = work.envelope, graph.joins_of[work.step.name]
    opened = Scope(
        step=work.step.name,
        event_id=envelope.event_id,
        outer=envelope.scope,
        joins=tuple((join.name, type_name(join.accepts[0])) for join in joins),
        replays=envelope.replays,
        traceparent=envelope.traceparent,
        recoveries=envelope.recoveries,
    )
    changes.put(state.scope_key(envelope.run_id, scope), opened.encode())
    for join in joins if envelope.scope else ():
        event_id = batch_event_id(scope, join.name)
        changes.put(state.item_key(envelope.run_id, envelope.scope, event_id, join.name), b"")


def add_items(changes: Overlay, envelope: Envelope, steps: Iterable[Step]) -> None:
    """Note that *steps* are to be done with an event of a scope."""
    for step in steps:
        key = state.item_key(envelope.run_id, envelope.scope, envelope.event_id, step.name)
        changes.put(key, b"")


def item_done(changes: Overlay, envelope: Envelope, step: str) -> None:
    """Note that a step is done with an event, if the event is of a scope."""
    if envelope.scope:
        key = state.item_key(envelope.run_id, envelope.scope, envelope.event_id, step)
        changes.delete(key)


def open_scopes(view: View, run_id: str = "") -> list[Place]:
    """Return the open scopes of one run, or of all."""
    prefix = state.scope_prefix(run_id) if run_id else state.SCOPE
    keys = (key[len(state.SCOPE) :].decode() for key, _ in view.items(prefix))
    return [Place(run, scope) for run, _, scope in (key.partition("\0") for key in keys)]


def note(draft: "Draft", run_id: str, scope: str) -> None:
    """Let the joins of a scope be looked at once the draft is committed."""
    if scope:
        draft.scopes.add(Place(run_id, scope))


def remove(draft: "Draft", run_id: str) -> None:
    """Remove all that is kept of a run's fan-outs and joins."""
    for prefix in (
        state.scope_prefix(run_id),
        state.item_prefix(run_id),
        state.member_prefix(run_id),
        state.head_key(run_id),
        state.buffered_prefix(run_id),
    ):
        draft.state.delete_all(prefix)
