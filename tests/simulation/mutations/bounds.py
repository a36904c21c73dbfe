"""The bounds of what a worker holds, taken out one at a time."""

from typing import Any

from fleet.runtime.slots import Slots
from fleet.runtime.task import Task
from fleet.runtime.uncommitted import Uncommitted
from simulation.mutations.registry import instead_of


@instead_of(Uncommitted, "full")
def _what_is_not_committed_has_no_bound(self: Any) -> bool:
    del self
    return False


@instead_of(Task, "takes")
def _the_window_counts_no_bytes(self: Any, topic: str) -> bool:
    frontier = self.frontiers.get(topic)
    return bool(self._taking and (frontier is None or frontier.pending < 10_000))


_committed = Task._committed


@instead_of(Task, "_committed")
def _steps_that_were_held_back_are_not_begun(self: Any, commit: Any) -> None:
    slots, self.charter.slots.hand_out = self.charter.slots, lambda: None
    try:
        _committed(self, commit)
    finally:
        del slots.hand_out


@instead_of(Slots, "give_back")
def _slots_are_not_given_back(self: Any) -> None:
    self.hand_out()
