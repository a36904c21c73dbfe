"""Reads a run's values from a view of the state: of its worker, or of what a caller has read."""

from typing import Any

from fleet.records import paths
from fleet.records.state import View
from fleet.workflow.context_state import object_paths
from fleet.workflow.context_state.leaves import Values, parts_of
from fleet.workflow.context_state.state_type import StateType
from fleet.workflow.context_state.untyped import Untyped
from fleet.workflow.errors import ContextStateError

_MISSING = paths.MISSING


class Reader:
    """Reads the values of one run."""

    def __init__(self, state: View, prefix: bytes, kind: StateType) -> None:
        self._kind = kind
        self.values = Values(state, prefix)

    def get(self, path: str, default: Any = _MISSING) -> Any:
        """Return the value at *path*; raise ValueError if there is none and no *default*."""
        parts = parts_of(path)
        if isinstance(self._kind, Untyped):
            value = self.values.read(parts)
        else:
            value = object_paths.descend(self.state_of(parts), parts)
        if value is not _MISSING:
            return value
        if default is _MISSING:
            raise ValueError(f"the run's context has no value at {path!r}; give get() a default")
        return default

    def state(self) -> Any:
        """Return the state."""
        return self._kind.made(self.values.whole())

    def state_of(self, parts: list[str]) -> Any:
        """Return a state that has what is at *parts*; of the rest it may have less than there is.

        So that one member of a large dictionary costs what it is, and not what the others are.
        """
        if self._kind.needs_all:
            return self.state()
        return self._with_member(parts) or self._with_value(parts[0])

    def _with_value(self, name: str) -> Any:
        value = self.values.read([name])
        return self._kind.made({} if value is _MISSING else {name: value})

    def _with_member(self, parts: list[str]) -> Any:
        """Return a state with one member of a dictionary; None if no dictionary is there."""
        name, *below = parts
        if not below or name in self._kind.filled or self.values.is_leaf(name):
            return None
        member = self.values.read(parts[:2])
        stored = {} if member is _MISSING else {below[0]: member}
        found = self._tried({name: stored})
        return found if type(object_paths.descend(found, [name])) is dict else None

    def _tried(self, stored: dict[str, Any]) -> Any:
        try:
            return self._kind.made(stored)
        except ContextStateError:
            # The field's type wants more members than one.
            return None
