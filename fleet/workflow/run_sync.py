"""A run in a script without an event loop: it gets one of its own, which closes after it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fleet.workflow.errors import WorkflowConfigurationError

R = TypeVar("R")


class LoopIsRunning(WorkflowConfigurationError):
    """Raised when an event loop already runs, as in async code or a notebook.

    What to do: Write `await ...run(...)`, as the message shows.
    """

    def __init__(self, instead: str) -> None:
        super().__init__(f"run_sync would stop the event loop that runs here; write `{instead}`")


def run(work: Callable[[], Coroutine[Any, Any, R]], *, instead: str) -> R:
    """Run *work* in an event loop of its own and return its result.

    Raises LoopIsRunning, which says what to write *instead*, if that would block another loop.
    """
    if _loop_is_running():
        raise LoopIsRunning(instead)
    return asyncio.run(work())


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
