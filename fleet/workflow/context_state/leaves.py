"""
A run's values as its group's state keeps them: a key for each leaf, by dotted path.

So two steps that write different paths of one dictionary do not overwrite each other. A dictionary
is what its leaves make; an empty one is a leaf.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import from_json, to_json

from fleet.records import limits, paths
from fleet.records.state import FEW_CHANGES, MemoryState, Overlay, View
from fleet.workflow.errors import ContextStateError, ContextValueTooLarge

#: New values of paths, as JSON; None deletes.
Changes = dict[str, bytes | None]


def parts_of(path: object) -> list[str]:
    """Return the names in *path*; raise ContextStateError if it is no path."""
    if not isinstance(path, str):
        raise ContextStateError(
            f"a path of the context is text, not {type(path).__name__}; write 'a.b'"
        )
    parts = path.split(".")
    if not all(parts) or "\0" in path:
        raise ContextStateError(
            f"{path!r} is no path of the context; write names with dots between them, as 'a.b'"
        )
    return parts


def is_part(name: object) -> bool:
    """Tell whether *name* can be a part of a path."""
    return isinstance(name, str) and bool(name) and "." not in name and "\0" not in name


def check_name(name: object) -> None:
    """Raise ContextStateError if a state can have no value of this name."""
    if not is_part(name) or len(str(name)) > limits.PATH_LENGTH:
        raise ContextStateError(
            f"{str(name)[:40]!r} cannot be a name in the context: a name is text without dots, of "
            f"at most {limits.PATH_LENGTH:,} characters"
        )


def split(path: str, value: Any, written: Any) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of the value at *path*, as they are *written*: as JSON has them.

    Plain dictionaries are split if all their keys can be parts of paths. A model is one leaf, so
    what is read of it is always what one step has written.
    """
    if type(value) is dict and value and isinstance(written, dict) and _splits(path, value):
        for name, member in value.items():
            if type(member) is dict:
                yield from split(f"{path}.{name}", member, written[name])
            else:
                yield f"{path}.{name}", written[name]
    else:
        yield path, written


def _splits(path: str, value: dict[Any, Any]) -> bool:
    longest = limits.PATH_LENGTH - len(path) - 1
    return all(is_part(name) and len(name) <= longest for name in value)


def check_length(path: str) -> None:
    """Raise ContextStateError if nothing can be kept at *path*."""
    if len(path) > limits.PATH_LENGTH:
        raise ContextStateError(
            f"{path[:40]!r}... is no path of the context: it has {len(path):,} characters, and a "
            f"path has at most {limits.PATH_LENGTH:,}; use shorter names"
        )


def encoded(path: str, leaf: Any) -> bytes:
    """Return a leaf as JSON; raise ContextStateError if it is too large or cannot be written."""
    check_length(path)
    try:
        value = to_json(leaf)
        path.encode()
    except ValueError as failure:
        # Halves of characters, which UTF-8 has not.
        raise unkept(path, str(failure)) from None
    if len(value) > limits.VALUE_BYTES:
        raise ContextValueTooLarge(path, len(value))
    return value


def unkept(path: str, reason: str) -> ContextStateError:
    """Return the error for a value that the context cannot keep."""
    return ContextStateError(f"the value at {path!r} cannot be kept: {reason}; {JSON_HAS}")


JSON_HAS = (
    "the context holds what JSON has: text, numbers, lists and dictionaries with text as keys"
)


def name_of(path: str) -> str:
    """Return the first part of a path."""
    return path.partition(".")[0]


def read_all(kept: Mapping[str, bytes]) -> dict[str, Any]:
    """Return leaves as values, by path."""
    # One call for all of them: a large state has thousands.
    return dict(zip(kept, from_json(b"[%b]" % b",".join(kept.values())), strict=True))


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dictionary that leaves make, by path."""
    whole: dict[str, Any] = {}
    holder, into = "", whole
    for path, value in leaves.items():
        above, _, name = path.rpartition(".")
        if above != holder:
            # Members of a dictionary follow each other.
            holder, into = above, whole
            for part in above.split(".") if above else ():
                into = into.setdefault(part, {})
        into[name] = value
    return whole


def difference(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> Changes:
    """Return what turns the leaves *before* into the leaves *after*."""
    gone: Changes = {path: None for path in before if path not in after}
    return gone | {path: value for path, value in after.items() if before.get(path) != value}


class Values:
    """The values of one run in a view of the state."""

    def __init__(self, state: View, prefix: bytes) -> None:
        self._state = state
        self._prefix = prefix

    def key(self, path: str) -> bytes:
        """Return the state key of a leaf."""
        return self._prefix + path.encode()

    def read(self, parts: list[str]) -> Any:
        """Return the value at a path, or MISSING."""
        for depth in range(len(parts), 0, -1):
            leaf = self._state.get(self.key(".".join(parts[:depth])))
            if leaf is not None:
                return paths.descend(from_json(leaf), parts[depth:])
        path = ".".join(parts)
        below = read_all(self.kept(f"{path}."))
        inner = {at[len(path) + 1 :]: leaf for at, leaf in below.items()}
        return nested(inner) if inner else paths.MISSING

    def whole(self) -> dict[str, Any]:
        """Return all values as one dictionary."""
        return nested(read_all(self.kept("")))

    def kept(self, beginning: str) -> dict[str, bytes]:
        """Return the leaves whose paths begin so, as they are kept."""
        start = len(self._prefix)
        found = self._state.items(self.key(beginning))
        return {key[start:].decode(): value for key, value in found}

    def has(self, path: str) -> bool:
        """Tell whether anything is kept at *path* or below it."""
        if self.is_leaf(path):
            return True
        return next(iter(self._state.items(self.key(f"{path}."))), None) is not None

    def is_leaf(self, path: str) -> bool:
        """Tell whether a leaf is kept at *path* itself."""
        return self._state.get(self.key(path)) is not None


def begin(state: Overlay, values: str, prefix: bytes) -> None:
    """Let a run's context begin with *values*, a JSON object; names that no path has are left out.

    *prefix* is that of the run's context.
    """
    for name, value in from_json(values).items():
        if is_part(name) and len(name) <= limits.PATH_LENGTH:
            for path, leaf in split(name, value, value):
                state.put(prefix + path.encode(), to_json(leaf))


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


def _clear_way(state: Overlay, key: bytes, start: int) -> None:
    state.delete_all(key + b".")
    dot = key.find(b".", start)
    while dot >= 0:
        if state.get(key[:dot]) is not None:
            state.delete(key[:dot])
        dot = key.find(b".", dot + 1)
