"""
`@step(formerly=...)`: the names that a step had before it was renamed.

The log knows a step by the first of them for ever: in headers, the state, step records and dead
letters. So workers of the version before and of this one understand each other while you deploy,
and when you go back. What else knows the step by another of its names, as after a release that did
not say `formerly`, is finished under that name.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from fleet.workflow.errors import BadOption

if TYPE_CHECKING:
    from fleet.workflow.steps import Step


def checked(given: object, where: str) -> tuple[str, ...]:
    """Return *given* as former names of a step; raise BadOption."""
    names = (given,) if isinstance(given, str) else given
    wrong = not isinstance(names, tuple | list) or not all(_is_name(name) for name in names)
    if wrong and names is not None:
        raise BadOption(
            f"{where} takes the name that the step had, or a tuple of such names, the oldest "
            f"first, not {given!r}"
        )
    return tuple(dict.fromkeys(names)) if isinstance(names, tuple | list) else ()


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name.isidentifier()


def findings(steps: Iterable["Step"]) -> Iterator[str]:
    """Yield what is wrong with the former names of steps together."""
    every = list(steps)
    owner = {step.shown: step for step in every}
    for step in every:
        for name in step.options.formerly:
            other = owner.setdefault(name, step)
            if name == step.shown:
                yield (
                    f"step {name} says that it was called {name} formerly, which is its name; "
                    "remove it from formerly"
                )
            elif other is not step and name == other.shown:
                yield (
                    f"step {step.shown} was called {name} formerly, and there is another step "
                    f"{name}: work of which of them would it be? Give that step another name"
                )
            elif other is not step:
                yield (
                    f"steps {other.shown} and {step.shown} were both called {name} formerly; "
                    "remove it from one"
                )


def by_any_name(steps: Iterable["Step"]) -> dict[str, "Step"]:
    """Return the steps by each of their names; one that is not its `name` is that of the copy."""
    return {name: step.called(name) for step in steps for name in step.names}
