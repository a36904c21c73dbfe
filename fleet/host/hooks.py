"""
Hooks: methods of Faust's classes that we override and that Faust must call.

After an upgrade Faust may have renamed one, or not call it any more. Our method would lie there
unused, and Faust would treat our records its own way. So each hook is marked. `compatibility` looks
for it in Faust's class at start, and `hook_check` makes sure that Faust has called it.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

_Method = TypeVar("_Method", bound=Callable[..., Any])
_CALLED = "_called_hooks"
_MARK = "_is_hook"


def hook(method: _Method) -> _Method:
    """Mark *method* as one that overrides Faust's method of its name, and note each call."""
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
