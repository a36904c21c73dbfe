"""Steps as annotations would describe them, for tests of what a graph says of them."""

from collections.abc import Coroutine, Iterable
from typing import Any

from fleet import Collect, Event, StartEvent, StopEvent
from fleet.workflow.steps import Options, Slot, Step


class A(Event):
    """An event."""


class Cat(A):
    """A kind of A."""


class B(Event):
    """Another."""


class C(Event):
    """A third."""


class Judgement(StopEvent):
    """A result with a type of its own."""

    verdict: str = ""


class Topic(StartEvent):
    """A start event with a type of its own."""

    topic: str = ""


class Ask(Event):
    """A start event that is no StartEvent."""


class Answer(Event):
    """A result that is no StopEvent."""


async def nothing(*_: object) -> None:
    """The body of every step: none is run here."""


def _never(*_: object, **__: object) -> Coroutine[Any, Any, Any]:
    return nothing()


def step(
    name: str,
    accepts: list[type[Event]],
    returns: list[type[Event]],
    *,
    lists: Iterable[type[Event]] = (),
    collect: Collect | None = None,
    **options: Any,
) -> Step:
    """Return a step that takes one of *accepts*, or a list of them with *collect*.

    It returns one of *returns*, or a list of *lists*.
    """
    slots = (Slot("ev", tuple(accepts)),)
    return Step(
        name,
        _never,
        Options(**options),
        slots,
        bare=tuple(returns),
        fans_out=tuple(lists),
        collect=collect,
    )


def join(name: str, accepts: dict[str, type[Event]], returns: list[type[Event]]) -> Step:
    """Return a step that joins an event for each parameter."""
    slots = tuple(Slot(parameter, (event,)) for parameter, event in accepts.items())
    return Step(name, _never, Options(), slots, bare=tuple(returns))


FIRST = step("first", [StartEvent], [A])
LAST = step("last", [A], [StopEvent])
