"""The bounds of what a worker holds, taken out one at a time."""

from typing import Any

from fleet.engine import ends_index
from fleet.engine.admission.slots import Slots
from fleet.engine.admission.uncommitted import Uncommitted
from fleet.engine.attempts import Attempts
from fleet.engine.ends_index import Entry
from fleet.engine.retention import Retention
from fleet.engine.task import Task
from fleet.records import state
from simulation.mutations.registry import instead_of


@instead_of(Uncommitted, "full", near=109)
def _what_is_not_committed_has_no_bound(self: Any) -> bool:
    del self
    return False


@instead_of(Task, "takes", near=204)
def _the_window_counts_no_bytes(self: Any, topic: str) -> bool:
    tracker = self.trackers.get(topic)
    return bool(self._taking and (tracker is None or tracker.pending < 10_000))


_committed = Task._committed


@instead_of(Task, "_committed", near=109)
def _steps_that_were_held_back_are_not_begun(self: Any, commit: Any) -> None:
    slots, self.step_group.slots.hand_out = self.step_group.slots, lambda: None
    try:
        _committed(self, commit)
    finally:
        del slots.hand_out


@instead_of(Slots, "give_back")
def _slots_are_not_given_back(self: Any) -> None:
    self.hand_out()


@instead_of(ends_index, "extended")
def _ends_are_not_indexed(view: Any, changes: Any) -> Any:
    del view
    return changes


_of = Entry.of


@instead_of(ends_index, "extended")
def _what_is_forgotten_stays_in_the_index(view: Any, changes: Any) -> Any:
    del view
    found = {
        _of(key, value).key: b""
        for key, value in changes.items()
        if value is not None and key.startswith((state.END, state.SEEN))
    }
    return {**changes, **found}


_due_of = Retention._due_of


@instead_of(Retention, "_due_of", near=46)
async def _forgetting_does_not_keep_up(self: Any, kind: Any) -> Any:
    due = await _due_of(self, kind)
    self._after.clear()
    return due[:20]


@instead_of(Attempts, "has", near=627)
def _runs_without_a_start_are_forgotten_while_they_work(self: Any, run_id: str) -> bool:
    del self, run_id
    return False
