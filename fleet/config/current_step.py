"""The step that the running code belongs to: for log lines, and for watchers of the event loop."""

from contextvars import ContextVar
from typing import NamedTuple


class CurrentStep(NamedTuple):
    """An attempt of a step."""

    step: str
    run_id: str


#: Set in the task of each attempt, so the tasks and threads (`asyncio.to_thread`) that a step
#: starts inherit it.
CURRENT_STEP: ContextVar[CurrentStep | None] = ContextVar("fleet_current_step", default=None)
