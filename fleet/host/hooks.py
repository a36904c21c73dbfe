"""
Hooks: methods of Faust's classes that we override and that Faust must call.

An upgrade of Faust that renames one, or calls it no more, would go unnoticed: our method would
lie there unused while Faust goes its own way with our records. So each is marked, looked for in
Faust's class at start (`compatibility`), and known to have been called before a record is taken.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

_Method = TypeVar("_Method", bound=Callable[..., Any])
_CALLED = "_called_hooks"
_MARK = "_is_hook"


def hook(method: _Method) -> _Method:
    """Mark *method* as one that overrides Faust's of that name, and note each call."""
    name = method.__name__

    @functools.wraps(method)
    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        # Not in __init__: Faust calls some of them from there.
        self.__dict__.setdefault(_CALLED, set()).add(name)
        return method(self, *args, **kwargs)

    setattr(noting, _MARK, True)
    return noting  # type: ignore[return-value]


def hooks_of(owner: type) -> Iterator[str]:
    """Yield the names of the hooks that *owner* defines."""
    return (name for name, member in vars(owner).items() if getattr(member, _MARK, False))


def uncalled(owner: object, names: Iterable[str]) -> list[str]:
    """Return those of *names* that were not called on *owner* yet."""
    called = getattr(owner, _CALLED, frozenset[str]())
    return [f"{type(owner).__name__}.{name}" for name in names if name not in called]
