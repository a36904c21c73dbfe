"""Which step the code that runs now belongs to: for its log lines, and for a look from outside."""

from contextvars import ContextVar
from typing import NamedTuple


class CurrentStep(NamedTuple):
    """An attempt of a step."""

    step: str
    run_id: str


#: Set in the task of each attempt, so the tasks and threads (`asyncio.to_thread`) that a step
#: starts have it, too.
CURRENT_STEP: ContextVar[CurrentStep | None] = ContextVar("fleet_current_step", default=None)
