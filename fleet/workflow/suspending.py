"""
How a step waits without being in memory: its attempt ends, and its event stays in the state.

When the time has come, or the event that it waits for, the step is run from its top. Calls that are
recorded give what they gave before.
"""

from datetime import timedelta
from typing import NamedTuple

from fleet.records.calls import Call
from fleet.records.envelope import MAX_TIMEOUT_SECONDS
from fleet.workflow.errors import WorkflowConfigurationError
from fleet.workflow.waiting import EventWait


class Sleep(NamedTuple):
    """A step sleeps."""

    #: Which sleep of its attempt it is.
    call: Call
    #: Until when, in unix milliseconds of broker time.
    due_ms: int


class ChildWait(NamedTuple):
    """A step awaits runs that it has started."""

    calls: tuple[Call, ...]
    #: The workflow and the id of each.
    children: tuple[str, ...]


#: What a step can wait for.
Until = Sleep | EventWait | ChildWait


class Suspend(BaseException):
    """Ends the attempt of a step that has to wait.

    No Exception: a step that catches those must not take it for a failure.
    """

    def __init__(self, until: Until) -> None:
        super().__init__(f"the step waits: {until}")
        self.until = until


def sleep_seconds(given: object) -> float:
    """Return the seconds of `ctx.sleep`; raise WorkflowConfigurationError if it has none."""
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    # Not a NaN, which is no larger and no smaller than anything.
    if is_number and seconds <= MAX_TIMEOUT_SECONDS:  # type: ignore[operator]
        return max(0.0, float(seconds))  # type: ignore[arg-type]
    raise WorkflowConfigurationError(
        f"ctx.sleep takes seconds or a timedelta, at most {MAX_TIMEOUT_SECONDS:,} seconds, not "
        f"{given!r}"
    )
