"""The guards of fan-outs and joins."""

from typing import Any

from fleet.engine.joining import Joining
from fleet.engine.transitions import joins, scopes
from fleet.engine.transitions.joins import Fired
from fleet.engine.transitions.scopes import Place
from fleet.records import state
from fleet.records.state import View
from fleet.workflow.collecting import Collected
from simulation.mutations.registry import instead_of

_open_scope, _open_scopes = scopes.open_scope, scopes.open_scopes


@instead_of(scopes, "add_items", near=78)
def _events_of_a_fan_out_are_not_counted(_changes: Any, _envelope: Any, _steps: Any) -> None:
    """Leave the fan-out without items."""


@instead_of(scopes, "item_done", near=78)
def _a_fan_out_is_never_done(_changes: Any, _envelope: Any, _step: str) -> None:
    """Leave the item."""


@instead_of(scopes, "open_scope", near=78)
def _an_inner_fan_out_is_not_counted_in_the_outer_one(
    changes: Any, graph: Any, work: Any, scope: str
) -> None:
    outside = work._replace(envelope=work.envelope._replace(scope=""))
    _open_scope(changes, graph, outside, scope)
    if work.envelope.scope:
        key = state.scope_key(work.envelope.run_id, scope)
        opened = scopes.Scope.decode(changes.get(key))
        changes.put(key, opened.model_copy(update={"outer": work.envelope.scope}).encode())


@instead_of(Joining, "all_due", near=529)
def _a_loaded_state_is_not_looked_through_for_joins(_self: Any) -> list[Fired]:
    return []


@instead_of(scopes, "open_scopes", near=3194)
def _a_resumed_run_is_not_looked_through_for_joins(view: View, run_id: str = "") -> list[Place]:
    return [] if run_id else _open_scopes(view)


@instead_of(Collected, "is_stale", near=141)
def _what_others_collected_meanwhile_is_not_looked_at(_self: Any, _view: View) -> bool:
    return False


@instead_of(joins, "_is_over", near=376)
def _joins_of_a_run_that_ended_fire(_view: View, _run_id: str) -> bool:
    return False
