"""
One block of `edit_state()`: the state that it is given, and what it has changed of it.

What is kept already is compared as it is kept, so that a block costs one look at a large state and
not three. Only values that JSON may write in several ways (sets, models) are written once more as
they were.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fleet.records import values
from fleet.workflow.context_state import leaves
from fleet.workflow.context_state.leaves import Values, name_of
from fleet.workflow.context_state.state_type import StateType


class Compared(NamedTuple):
    """The leaves of a state before and after a block."""

    before: dict[str, bytes]
    after: dict[str, bytes]


class Block:
    """A block that is open."""

    def __init__(self, current: Values, kind: StateType) -> None:
        self._kind = kind
        self._kept = current.kept("")
        #: What the step gets, and changes.
        self.state = self._made()
        names = set(kind.names(self.state))
        self._kept = {path: leaf for path, leaf in self._kept.items() if name_of(path) in names}
        # Of a default that differs each time, the one that the block sees.
        self._defaults = kind.leaves(self.state, names.difference(map(name_of, self._kept)))

    def compared(self) -> Compared:
        """Return what the block began with and what it has made of it.

        Raises ContextStateError for a value that would not come back as it is.
        """
        before, after = {**self._defaults, **self._kept}, self._kind.leaves(self.state)
        unsure = self._kind.unsure(self.state, map(name_of, leaves.difference(before, after)))
        if unsure:
            sure = {path: leaf for path, leaf in before.items() if name_of(path) not in unsure}
            before = {**sure, **self._as_before(unsure, after)}
        return Compared(before, after)

    def _made(self) -> Any:
        return self._kind.made(leaves.nested(leaves.read_all(self._kept)))

    def _as_before(self, names: set[str], after: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return the leaves of *names* with which the block began.

        Those of *after* for an equal value: a set may have its members in another order.
        """
        began, kept = self._made(), names.intersection(map(name_of, self._kept))
        same = {name for name in kept if _is_same(began, self.state, name)}
        unkept = {path: leaf for path, leaf in self._defaults.items() if name_of(path) in names}
        again = self._kind.leaves(began, kept - same)
        written = {path: leaf for path, leaf in again.items() if name_of(path) in kept - same}
        unchanged = {path: leaf for path, leaf in after.items() if name_of(path) in same}
        return unkept | written | unchanged


def _is_same(began: Any, state: Any, name: str) -> bool:
    return values.difference(getattr(began, name), getattr(state, name)) is None
