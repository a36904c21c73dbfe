"""
Where a workflow runs: under the reference, in Fleet's memory, on Kafka.

A test gives the name of a class and gets what a caller sees: the result or the error, and the
stream.
"""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from behaviour import library
from behaviour.library import FLEET, REFERENCE

#: The modules whose workflows a Faust app carries.
SCENARIOS = sorted(each.stem for each in (library.HERE / "scenarios").glob("[a-z]*.py"))
EXAMPLES = sorted(each.stem for each in (library.HERE / "examples").glob("[a-z]*.py"))
#: A run takes milliseconds; a run that hangs ends with this.
TIMEOUT_SECONDS = 10.0


@dataclass(slots=True)
class Outcome:
    """What a caller saw of a run."""

    result: Any = None
    error: BaseException | None = None
    stream: list[Any] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """The texts of the notes that steps wrote to the stream, in order."""
        return [each.text for each in self.stream if type(each).__name__ == "Note"]

    @property
    def types(self) -> list[str]:
        """The names of the streamed types, in order."""
        return [type(each).__name__ for each in self.stream]

    @property
    def raised(self) -> str:
        """The name and the text of the error; "" without one."""
        return "" if self.error is None else f"{type(self.error).__name__}: {self.error}"


class Runtime:
    """Runs the workflows of this folder."""

    def __init__(self, name: str, make: Callable[[type[Any], dict[str, Any]], Any]) -> None:
        self.name = name
        self.library = REFERENCE if name == REFERENCE else FLEET
        self._make = make

    def __repr__(self) -> str:
        return self.name

    def module(self, name: str) -> ModuleType:
        """Return a module of this folder, as the library reads it."""
        return library.module(name, self.library)

    def name_of(self, public: str) -> Any:
        """Return what a public name means in this runtime's library."""
        return library.name(self.library, public)

    def flow(self, flow: str) -> Any:
        """Return a workflow of the class *flow* (`scenarios.routing.Loop`)."""
        home, _, name = flow.rpartition(".")
        module = self.module(home)
        return self._make(getattr(module, name), options(module, name))

    def start(self, flow: str, **fields: Any) -> Any:
        """Start a run of the class *flow*; return its handler."""
        return self.flow(flow).run(**fields)

    async def run(self, flow: str, **fields: Any) -> Outcome:
        """Make a run from its start to its end; tests of several sides of a run share it."""
        known = (self.name, flow, repr(fields))
        if known not in _outcomes:
            _outcomes[known] = await outcome(self.start(flow, **fields))
        return _outcomes[known]


_outcomes: dict[tuple[str, str, str], Outcome] = {}


async def outcome(
    handler: Any, *, internal: bool = False, answer: Callable[[Any], Any] = lambda _: None
) -> Outcome:
    """Read the stream of a run, then its result or error.

    *answer* returns what to send for an event that is shown; None: nothing.
    """
    seen = Outcome()
    options = {"expose_internal": True} if internal else {}
    async with asyncio.timeout(2 * TIMEOUT_SECONDS):
        try:
            async for event in handler.stream_events(**options):
                seen.stream.append(event)
                if (answered := answer(event)) is not None:
                    # The reference's context sends at once.
                    await (handler.ctx.send_event(answered) or asyncio.sleep(0))
            seen.result = await handler
        except Exception as error:  # noqa: BLE001 - what it is, is what the caller got
            seen.error = error
    return seen


def options(module: ModuleType, flow: str) -> dict[str, Any]:
    """Return the constructor's arguments for a class; a module may give some of its own."""
    own: dict[str, Any] = getattr(module, "OPTIONS", {}).get(flow, {})
    return {"timeout": TIMEOUT_SECONDS, **own}


def flows(module: ModuleType) -> dict[str, type[Any]]:
    """Return the workflows that a module declares, by name."""
    workflow = library.name(FLEET, "Workflow")
    return {
        name: found
        for name, found in vars(module).items()
        if inspect.isclass(found)
        and issubclass(found, workflow)
        and found.__module__ == module.__name__
        and not name.startswith("_")
    }
