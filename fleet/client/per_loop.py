"""One caller of a workflow for each event loop in which its runs are started."""

import asyncio
from collections.abc import Callable
from weakref import WeakKeyDictionary

from fleet.client.caller import Caller
from fleet.workflow.errors import WorkflowConfigurationError


class NoLoop(WorkflowConfigurationError, RuntimeError):
    """Raised when a run is started without a running event loop.

    What to do: Write `run_sync(...)` in a script, or await `run(...)` in async code.
    """

    def __init__(self, workflow: str) -> None:
        super().__init__(
            f"no running event loop: in a script write {workflow}(...).run_sync(...); in async "
            f"code `await {workflow}(...).run(...)`"
        )


class CallersByLoop:
    """The callers of one workflow."""

    def __init__(self) -> None:
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Caller] = WeakKeyDictionary()

    def here(self, workflow: str, make: Callable[[], Caller]) -> Caller:
        """Return the running loop's caller, from *make* if there is none yet; raise NoLoop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise NoLoop(workflow) from None
        caller = self._by_loop.get(loop)
        if caller is None:
            self._drop_closed()
            caller = self._by_loop[loop] = make()
        return caller

    def _drop_closed(self) -> None:
        # A caller's log holds its loop, and so both would live as long as the workflow.
        for loop in [loop for loop in self._by_loop if loop.is_closed()]:
            del self._by_loop[loop]
