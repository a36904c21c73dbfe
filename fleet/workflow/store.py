"""
`ctx.store`: a run's values by dotted path.

Every leaf has a key of its own. So two steps that write different paths of one dictionary do not
overwrite each other. A dictionary is what its leaves make; an empty one is a leaf.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json, to_json

from fleet.records import paths, values
from fleet.records.state import FEW_CHANGES, MemoryState, Overlay
from fleet.workflow.errors import ContextStateError, NotAvailableYet

_MISSING = paths.MISSING


class Store:
    """Reads and writes of one attempt; its writes take effect with the step's result."""

    def __init__(self, state: Overlay, prefix: bytes) -> None:
        self._state = state
        self._prefix = prefix

    def changes(self) -> dict[bytes, bytes | None]:
        """Return what was set, by state key; None deletes."""
        return dict(self._state.changes)

    async def get(self, path: str, default: Any = _MISSING) -> Any:
        """Return the value at *path* (`"a.b"`, `"items.0"`).

        Raises ValueError if there is none and you give no *default*.
        """
        value = self._read(_parts(path))
        if value is not _MISSING:
            return value
        if default is _MISSING:
            raise ValueError(f"the run's context has no value at {path!r}; give get() a default")
        return default

    async def set(self, path: str, value: Any) -> None:
        """Set the value at *path*; it replaces everything at or below it.

        Raises ContextStateError if the value would not come back from JSON equal and of its type,
        or if a part of *path* is no dictionary.
        """
        parts, value = _parts(path), _checked(path, value)
        leaves = self._written(parts, value, path)
        for depth in range(1, len(parts)):
            self._make_room(parts[:depth], path)
        self._state.delete(self._key(parts))
        self._state.delete_all(self._key(parts) + b".")
        for key, encoded in leaves:
            self._state.put(key, encoded)

    def _written(self, parts: list[str], value: Any, path: str) -> list[tuple[bytes, bytes]]:
        try:
            return [(self._key(leaf), encoded) for leaf, encoded in _leaves(parts, value)]
        except ValueError as failure:
            # Halves of characters, which UTF-8 has not.
            raise _unkept(path, failure) from None

    async def delete(self, path: str) -> None:
        """Remove the value at *path* and below, if there is one."""
        parts = _parts(path)
        self._state.delete(self._key(parts))
        self._state.delete_all(self._key(parts) + b".")

    async def clear(self) -> None:
        """Remove every value of the run."""
        self._state.delete_all(self._prefix)

    async def to_dict(self) -> dict[str, Any]:
        """Return all values as one nested dictionary."""
        return _nested(self._below(b""))

    def edit_state(self) -> Any:
        """Refused in this version."""
        raise NotAvailableYet("ctx.store.edit_state()", "use get() and set()")

    def _key(self, parts: list[str]) -> bytes:
        return self._prefix + ".".join(parts).encode()

    def _below(self, path: bytes) -> list[tuple[list[str], Any]]:
        start = self._prefix + path
        return [
            (key[len(start) :].decode().split("."), from_json(value))
            for key, value in self._state.items(start)
        ]

    def _read(self, parts: list[str]) -> Any:
        for depth in range(len(parts), 0, -1):
            leaf = self._state.get(self._key(parts[:depth]))
            if leaf is not None:
                return paths.descend(from_json(leaf), parts[depth:])
        below = self._below(".".join(parts).encode() + b".")
        return _nested(below) if below else _MISSING

    def _make_room(self, parts: list[str], path: str) -> None:
        leaf = self._state.get(self._key(parts))
        if leaf is None:
            return
        if leaf != b"{}":
            raise ContextStateError(
                f"{path!r} cannot be set: {'.'.join(parts)!r} holds a value that is no dictionary; "
                "set it as a whole, or use another path"
            )
        self._state.delete(self._key(parts))


def apply(state: Overlay, changes: Mapping[bytes, bytes | None], prefix: bytes) -> None:
    """Apply an attempt's changes to *state*; *prefix* is that of the run's context.

    Of two attempts that ran at once, one may have set `a` and the other `a.b`. The one that ends
    later wins: a value is never at a path and below it.
    """
    # For many changes, read what is there once instead of looking it up key by key.
    there = _There(state, prefix) if len(changes) > FEW_CHANGES else state
    for key, value in changes.items():
        if value is None:
            there.delete(key)
        else:
            _clear_way(there, key, len(prefix))
            there.put(key, value)


class _There(Overlay):
    """What is under a prefix of a state, read once; changes reach the state, too."""

    def __init__(self, state: Overlay, prefix: bytes) -> None:
        there = MemoryState()
        there.write(dict(state.items(prefix)))
        super().__init__(there)
        self._state = state

    def put(self, key: bytes, value: bytes) -> None:
        """Set *key* to *value*."""
        super().put(key, value)
        self._state.put(key, value)

    def delete(self, key: bytes) -> None:
        """Remove *key*."""
        super().delete(key)
        self._state.delete(key)


def begin(state: Overlay, values: str, prefix: bytes) -> None:
    """Let a run's context begin with *values*, a JSON object; names that no path has are left out.

    *prefix* is that of the run's context.
    """
    for name, value in from_json(values).items():
        if is_part(name):
            for parts, encoded in _leaves([name], value):
                state.put(prefix + ".".join(parts).encode(), encoded)


def _clear_way(state: Overlay, key: bytes, start: int) -> None:
    state.delete_all(key + b".")
    dot = key.find(b".", start)
    while dot >= 0:
        if state.get(key[:dot]) is not None:
            state.delete(key[:dot])
        dot = key.find(b".", dot + 1)


def _parts(path: str) -> list[str]:
    parts = path.split(".")
    if not all(parts) or "\0" in path:
        raise ContextStateError(
            f"{path!r} is no path of the context; write names with dots between them, as 'a.b'"
        )
    return parts


def _checked(path: str, value: Any) -> Any:
    """Return *value* if it comes back from JSON as it is; raise ContextStateError."""
    if values.plain(value):
        return value
    try:
        changed = values.difference(value, from_json(to_json(value)))
    except ValueError as failure:
        raise _unkept(path, failure) from None
    if changed is not None:
        raise ContextStateError(_kept_otherwise(path, value, changed))
    return value


_JSON_HAS = (
    "the context holds what JSON has: text, numbers, lists and dictionaries with text as keys"
)


def _unkept(path: str, failure: ValueError) -> ContextStateError:
    return ContextStateError(f"the value at {path!r} cannot be kept: {failure}; {_JSON_HAS}")


def _kept_otherwise(path: str, value: Any, changed: values.Difference) -> str:
    at = f"{path}.{changed.path}" if changed.path else path
    what, _, instead = changed.reason.partition("; ")
    if isinstance(value, BaseModel):
        kind = type(value).__name__
        instead = (
            f"set `value.model_dump(mode='json')` and read it with `{kind}.model_validate(...)`"
        )
    elif not isinstance(value, values.SECRETS):
        instead = _JSON_HAS
    return f"the value at {at!r} cannot be kept: {what}; {instead}"


def _leaves(parts: list[str], value: Any) -> Iterator[tuple[list[str], bytes]]:
    if isinstance(value, dict) and value and all(is_part(name) for name in value):
        for name, member in value.items():
            yield from _leaves([*parts, name], member)
    else:
        yield parts, to_json(value)


def is_part(name: str) -> bool:
    """Tell whether *name* can be a part of a path."""
    return bool(name) and "." not in name and "\0" not in name


def _nested(leaves: list[tuple[list[str], Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for parts, value in leaves:
        into = whole
        for part in parts[:-1]:
            into = into.setdefault(part, {})
        into[parts[-1]] = value
    return whole
