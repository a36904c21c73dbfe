"""
Arguments that a call does not take: which, what to write instead, and what it takes.

Python's own TypeError names the argument and no way out. People use arguments of other libraries,
or mistype one. Type checkers still see the function's own signature.
"""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from fleet.workflow.errors import WorkflowConfigurationError

F = TypeVar("F", bound=Callable[..., Any])


class UnknownArgument(WorkflowConfigurationError, TypeError):
    """Raised when you call something with an argument that it does not have.

    What to do: Use an argument that the message lists.
    """

    def __init__(self, called: str, name: str, known: Iterable[str], advice: str = "") -> None:
        names = list(known)
        near = difflib.get_close_matches(name, names, n=1)
        way = advice or (f"did you mean {near[0]}?" if near else "leave it out")
        takes = ", ".join(names) or "none"
        super().__init__(f"{called} takes no argument {name!r}: {way} (its arguments: {takes})")


class UnnamedArgument(WorkflowConfigurationError, TypeError):
    """Raised when you give an argument by position that has to be given by name.

    What to do: Pass the argument by name, as the message shows.
    """

    def __init__(self, called: str, known: Iterable[str]) -> None:
        names = list(known)
        example = f"{names[0]}=..." if names else ""
        super().__init__(f"{called} takes its arguments by name: write {called}({example})")


def checked(advice: Mapping[str, str], *, named: str = "") -> Callable[[F], F]:
    """Let a function refuse unknown arguments with a sentence; *advice* has one for some names.

    Sentences call the function *named*, or by the class of its first argument.
    """

    def wrap(function: F) -> F:
        parameters = list(inspect.signature(function).parameters.values())[1:]
        known = [p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY]
        by_place = sum(p.kind is not p.KEYWORD_ONLY for p in parameters)

        @functools.wraps(function)
        def call(self: Any, *given: Any, **options: Any) -> Any:
            called = named or type(self).__name__
            # None is the default of most, where they exist.
            options = {k: v for k, v in options.items() if v is not None or k not in advice}
            for name in options:
                if name not in known:
                    raise UnknownArgument(called, name, known, advice.get(name, ""))
            if len(given) > by_place:
                raise UnnamedArgument(called, known)
            return function(self, *given, **options)

        return call  # type: ignore[return-value]  # same signature, to type checkers too

    return wrap
