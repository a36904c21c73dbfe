"""
`@catch_error`: which step handles the failures of which.

A handler that names steps covers these. One that names none covers every step that no other one
names. No handler covers a handler: its own failure fails the run.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleet.workflow.steps import Step


@dataclass(frozen=True, slots=True)
class Catches:
    """The arguments of `@catch_error(...)`."""

    #: The steps whose failures it handles; None: all that no other handler names.
    for_steps: tuple[str, ...] | None = None
    #: How often it handles a failure of what follows from one event.
    max_recoveries: int = 1


def handlers(steps: Iterable["Step"]) -> list["Step"]:
    """Return the steps that handle failures."""
    return [step for step in steps if step.options.catches is not None]


def handler_of(steps: Iterable["Step"]) -> dict[str, "Step"]:
    """Return the handler of each step that has one, by the step's name."""
    every = list(steps)
    plain = [step.name for step in every if step.options.catches is None]
    named = {name: step.name for step in every for name in step.names}
    covered: dict[str, Step] = {}
    # Those that name steps first.
    for handler in sorted(handlers(every), key=lambda one: _named(one) is None):
        for name in plain if _named(handler) is None else _named(handler) or ():
            if named.get(name) in plain:
                covered.setdefault(named[name], handler)
    return covered


def findings(steps: Iterable["Step"]) -> Iterator[str]:
    """Yield what is wrong with the handlers together."""
    every = list(steps)
    found = handlers(every)
    every_step = [one.shown for one in found if _named(one) is None]
    if len(every_step) > 1:
        yield (
            f"{' and '.join(every_step)} each handle the failures of every step, and only one "
            "handler may; name the steps of the others, @catch_error(for_steps=[...])"
        )
    names = {step.shown for step in every}
    owner: dict[str, str] = {}
    for handler in found:
        for name in _named(handler) or ():
            yield from _wrong(handler.shown, name, names, {one.shown for one in found}, owner)


def _named(handler: "Step") -> tuple[str, ...] | None:
    catches = handler.options.catches
    return catches.for_steps if catches is not None else ()


def _wrong(
    handler: str, name: str, names: set[str], handling: set[str], owner: dict[str, str]
) -> Iterator[str]:
    if name not in names:
        known = ", ".join(sorted(names - handling))
        yield (f"handler {handler} is for step {name!r}, which there is not; the steps are {known}")
    elif name in handling:
        yield (
            f"handler {handler} is for {name}, which handles failures itself; the failure of a "
            f"handler fails the run: remove {name} from for_steps"
        )
    elif name in owner:
        yield (
            f"handlers {owner[name]} and {handler} are both for step {name}; remove it from the "
            "for_steps of one"
        )
    else:
        owner[name] = handler
