"""
How runs are cancelled that no step awaits any more: their parent has ended, or its step has.

The record goes into the commit in which they are given up. A resumed parent starts them again.
"""

from collections.abc import Iterable, Iterator

from fleet.engine.transitions import journal
from fleet.engine.transitions.draft import Draft, Work
from fleet.records import state
from fleet.records.calls import Call
from fleet.records.envelope import Envelope
from fleet.records.lifecycle import Cancelled
from fleet.records.log import Outgoing
from fleet.records.nested.child import KIND, Child
from fleet.records.state import View

_KIND = KIND.encode() + b" "


def of_run(draft: Draft, run_id: str, outcome: str) -> None:
    """Cancel the runs that steps of an ended run await."""
    for key, child in list(_open(draft.state, state.calls_prefix(run_id))):
        draft.records.append(_record(child, f"its parent {run_id} has ended: {outcome}"))
        draft.state.put(key, child.voided().encode())


def of_step(view: View, work: Work, calls: Iterable[Call] | None = None) -> list[Outgoing]:
    """Return what cancels the runs that a step awaits and does not need any more.

    None: of all its calls.
    """
    envelope, step = work.envelope, work.step.name
    if calls is None:
        prefix = state.call_key(envelope.run_id, envelope.event_id, step, "")
        found = [child for _, child in _open(view, prefix)]
    else:
        values = [view.get(journal.key(work, call)) for call in calls if call.kind == KIND]
        children = [Child.decode(value) for value in values if value is not None]
        found = [child for child in children if child.is_open]
    return [_record(child, f"step {step} of {envelope.run_id} has ended") for child in found]


def _open(view: View, prefix: bytes) -> Iterator[tuple[bytes, Child]]:
    for key, value in view.items(prefix):
        if key.rpartition(b"\0")[2].startswith(_KIND):
            child = Child.decode(value)
            if child.is_open:
                yield key, child


def _record(child: Child, reason: str) -> Outgoing:
    envelope = Envelope(
        run_id=child.run_id, event_id=f"{child.run_id}-cancelled", type=Cancelled.kind
    )
    value = Cancelled(reason=reason).encode()
    return Outgoing(child.runs, child.run_id.encode(), value, envelope.headers(), child.partition)
