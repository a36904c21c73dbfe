"""
Under which of its names the state knows a step for an event.

`fleet.workflow.versions.former_names` says what names a step has. The state knows it by the name in
`Step.name`, except for what was begun in a release that knew it by another one. What is kept under
that name is found only by it.
"""

from dataclasses import replace

from fleet.engine.transitions import scopes
from fleet.engine.transitions.draft import Work
from fleet.records import state
from fleet.records.envelope import Envelope
from fleet.records.state import View
from fleet.workflow.steps import Step


def known_as(view: View, work: Work) -> Work:
    """Return the work with its step under the name by which the state knows it."""
    envelope, step = work.envelope, work.step
    others = [name for name in step.names if name != step.name]
    found = next((name for name in others if _knows(view, envelope, step, name)), None)
    return work if found is None else work._replace(step=replace(step, name=found))


def _knows(view: View, envelope: Envelope, step: Step, name: str) -> bool:
    """Tell whether something is kept of a step and its event under *name*."""
    run_id, event_id, scope = envelope.run_id, envelope.event_id, envelope.scope
    if scope and view.get(state.item_key(run_id, scope, event_id, name)) is not None:
        return True
    opened = scopes.scope_of(view, run_id, scope) if step.collect is not None else None
    if opened is not None and any(join == name for join, _ in opened.joins):
        return True
    prefixes = [
        state.call_key(run_id, event_id, name, ""),
        state.edit_key(run_id, event_id, name, 0)[:-1],
    ]
    if step.is_join and step.collect is None:
        prefixes.append(state.member_prefix(run_id, scope or "-", name))
    return any(True for prefix in prefixes for _ in view.items(prefix))
