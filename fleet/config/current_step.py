"""
The step that the running code belongs to: for log lines, for watchers of the event loop, and for
models whose answers are recorded.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import NamedTuple

from fleet.records.calls import Calls


class CurrentStep(NamedTuple):
    """An attempt of a step."""

    step: str
    run_id: str


#: Set in the task of each attempt, so the tasks and threads (`asyncio.to_thread`) that a step
#: starts inherit it.
CURRENT_STEP: ContextVar[CurrentStep | None] = ContextVar("fleet_current_step", default=None)

#: Gives the recorded calls of the attempt.
CURRENT_CALLS: ContextVar[Callable[[], Calls] | None] = ContextVar(
    "fleet_current_calls", default=None
)
