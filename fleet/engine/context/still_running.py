"""Whether an attempt may still commit something of its own."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleet.engine.attempts import Attempt


def check(attempt: "Attempt", too_late: type[Exception]) -> None:
    """Raise CancelledError in an attempt that was stopped, *too_late* if the step has ended."""
    if attempt.stopped:
        # It caught its cancellation and runs on; its run has ended, or another worker has it.
        raise asyncio.CancelledError
    if attempt.task is None or attempt.task.done():
        raise too_late(attempt.work.step.name)
