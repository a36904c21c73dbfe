"""`ctx.store`: a run's values by dotted path, or as one state object."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Generic

from pydantic_core import from_json
from typing_extensions import TypeVar

from fleet.records import paths
from fleet.records.state import Overlay
from fleet.workflow.context_state import leaves, object_paths, state_type
from fleet.workflow.context_state.block import Block
from fleet.workflow.context_state.leaves import Values, name_of
from fleet.workflow.context_state.reader import Reader
from fleet.workflow.context_state.state_type import StateType
from fleet.workflow.context_state.untyped import Untyped, checked
from fleet.workflow.editing import Edit, Editor, Leaves
from fleet.workflow.errors import ContextStateError, NestedEdit

#: Left out by most, who annotate `ctx: Context`; strict type checkers accept that with a default.
Model = TypeVar("Model", default=Any)

_MISSING = paths.MISSING


class Store(Generic[Model]):
    """Reads and writes of one attempt.

    What `set`, `set_state`, `delete` and `clear` change takes effect with the step's result; this
    attempt sees it at once. What a block of `edit_state()` changes takes effect with the block.
    """

    def __init__(
        self,
        state: Overlay,
        prefix: bytes,
        kind: StateType | None = None,
        editor: Callable[[], Editor] | None = None,
    ) -> None:
        self._state = state
        self._prefix = prefix
        self._kind = kind or state_type.of(None)
        self._reader = Reader(state, prefix, self._kind)
        self._values = self._reader.values
        self._editor = editor
        #: How many blocks of `edit_state()` the attempt has begun.
        self.edits = 0
        #: The asyncio task that is inside a block.
        self._editing: asyncio.Task[Any] | None = None

    def changes(self) -> dict[bytes, bytes | None]:
        """Return what was set, by state key; None deletes."""
        return dict(self._state.changes)

    async def get(self, path: str, default: Any = _MISSING) -> Any:
        """Return the value at *path* (`"a.b"`, `"items.0"`).

        Raises ValueError if there is none and you give no *default*.
        """
        return self._reader.get(path, default)

    async def get_state(self) -> Model:
        """Return a copy of the state: an object of the model that the steps name, or a DictState.

        Changes of the copy change nothing; see `set_state` and `edit_state`.
        """
        state: Model = self._reader.state()
        return state

    async def to_dict(self) -> dict[str, Any]:
        """Return all values that were set, as JSON has them, in one nested dictionary."""
        return self._values.whole()

    async def set(self, path: str, value: Any) -> None:
        """Set the value at *path*; it replaces everything at or below it.

        Raises ContextStateError if the value would not come back equal and of its type, or if a
        part of *path* is no dictionary.
        """
        self._refuse_inside("set")
        parts = leaves.parts_of(path)
        leaves.check_length(path)
        if isinstance(self._kind, Untyped):
            self._set_plain(parts, value)
        else:
            self._set_field(parts, value)

    async def set_state(self, state: Model) -> None:
        """Replace the state; an object of a parent of the model replaces the parent's fields."""
        self._refuse_inside("set_state")
        current = self._reader.state()
        before = self._kind.leaves(current)
        self._change(before, self._kind.leaves(self._kind.replaced(current, state)))

    async def delete(self, path: str) -> None:
        """Remove the value at *path* and below, if there is one; a field gets its default again."""
        self._refuse_inside("delete")
        parts = leaves.parts_of(path)
        if isinstance(self._kind, Untyped) or len(parts) == 1:
            self._remove(parts)
        else:
            self._delete_inside(parts)

    async def clear(self) -> None:
        """Remove every value of the run; every field of a model has its default again."""
        self._refuse_inside("clear")
        self._state.delete_all(self._prefix)

    @asynccontextmanager
    async def edit_state(self) -> AsyncIterator[Model]:
        """Change the state, alone: `async with ctx.store.edit_state() as state`.

        One block of a run is open at a time. The changes are committed when the block has ended,
        before the next line of the step. A block that raises changes nothing. If the step is run
        again for its event, the code of the block is run again, too, and its changes are not
        applied again: the block sees what it changed as that was the first time.

        Raises ContextStateError for a value that would not come back as it is.
        """
        self._refuse_inside("edit_state")
        if self._editor is None:
            raise ContextStateError("edit_state() is for steps that run")
        editor = self._editor()
        self.edits += 1
        number = self.edits
        async with editor.turn():
            replaced = await editor.replaced(number)
            block = self._block(replaced or {})
            with self._inside():
                yield block.state
            if replaced is not None:
                self._supersede(replaced)
                return
            edit = self._edit(block)
            if not edit.changes:
                return
            committed = editor.edit(number, edit)
            self._supersede(edit.changes)
        await committed

    # -- changes of paths -------------------------------------------------------------------------

    def _set_plain(self, parts: list[str], value: Any) -> None:
        path = ".".join(parts)
        found = leaves.split(path, value, checked(path, value))
        written = [(self._values.key(at), leaves.encoded(at, leaf)) for at, leaf in found]
        for depth in range(1, len(parts)):
            if self._set_inside(parts[:depth], parts, value):
                return
        self._remove(parts)
        for key, encoded in written:
            self._state.put(key, encoded)

    def _set_inside(self, above: list[str], parts: list[str], value: Any) -> bool:
        """Set a value inside the one at *above*, if that is kept as a whole; tell whether it is.

        An empty dictionary makes room for members.
        """
        path = ".".join(above)
        key = self._values.key(path)
        leaf = self._state.get(key)
        if leaf is None or leaf == b"{}":
            if leaf is not None:
                self._state.delete(key)
            return False
        state = leaves.nested({path: from_json(leaf)})
        object_paths.assign(state, parts, value)
        self._state.put(key, leaves.encoded(path, object_paths.descend(state, above)))
        return True

    def _set_field(self, parts: list[str], value: Any) -> None:
        state, names = self._reader.state_of(parts), parts[:1]
        before = self._kind.leaves(state, names) if object_paths.has(state, names) else {}
        object_paths.assign(state, parts, value)
        self._change(before, self._kind.leaves(state, names))

    def _delete_inside(self, parts: list[str]) -> None:
        state, names = self._reader.state(), parts[:1]
        if object_paths.has(state, parts):
            before = self._kind.leaves(state, names)
            object_paths.remove(state, parts)
            self._change(before, self._kind.leaves(state, names))

    def _remove(self, parts: list[str]) -> None:
        key = self._values.key(".".join(parts))
        self._state.delete(key)
        self._state.delete_all(key + b".")

    # -- changes of the state ---------------------------------------------------------------------

    def _change(self, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> None:
        changes = self._difference(before, after)
        leaves.apply(self._state, self._by_key(changes), self._prefix)

    def _difference(self, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> Leaves:
        """Return what is to be kept of a change."""
        changes = leaves.difference(before, after)
        # Of a field that has its default until now all is kept: also what is as the default has it.
        new = {name for name in map(name_of, changes) if self._is_default(name)}
        changes |= {path: value for path, value in after.items() if name_of(path) in new}
        return {
            path: value
            for path, value in changes.items()
            if value is not None or self._values.is_leaf(path)
        }

    def _is_default(self, name: str) -> bool:
        return name in self._kind.filled and not self._values.has(name)

    def _by_key(self, changes: Leaves) -> dict[bytes, bytes | None]:
        return {self._values.key(path): value for path, value in changes.items()}

    # -- edits ------------------------------------------------------------------------------------

    def _block(self, replaced: Leaves) -> Block:
        """Return a block that sees what is there, and what was *replaced* before as it was."""
        seen = Overlay(self._state)
        leaves.apply(seen, self._by_key(replaced), self._prefix)
        return Block(Values(seen, self._prefix), self._kind)

    def _edit(self, block: Block) -> Edit:
        before, after = block.compared()
        changes = self._difference(before, after)
        return Edit(changes, {path: before.get(path) for path in changes})

    def _supersede(self, edited: Iterable[str]) -> None:
        """Drop what this attempt has set before where a block of it has changed the value."""
        for path in edited:
            self._state.changes.pop(self._values.key(path), None)

    @contextmanager
    def _inside(self) -> Iterator[None]:
        self._editing = asyncio.current_task()
        try:
            yield
        finally:
            self._editing = None

    def _refuse_inside(self, method: str) -> None:
        if self._editing is not None and self._editing is asyncio.current_task():
            raise NestedEdit(method)
