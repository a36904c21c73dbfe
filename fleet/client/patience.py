"""
How long a caller waits: a run's own timeout and some more, from its start on.

The worker ends a run that takes too long. The caller's own limit is for the case that no worker
does.
"""

import asyncio
import math
from collections.abc import Callable, Iterable

from fleet.client.open_run import OpenRun
from fleet.client.worker_watch import WorkerWatch
from fleet.workflow.errors import RunUnheard

#: How much longer than the run's own timeout a caller waits for its end, in seconds.
GRACE_SECONDS = 10.0
#: How long a record of a run without a caller here is tried to be sent, in seconds.
_SEND_SECONDS = 60.0
NOT_ACKNOWLEDGED = (
    "The broker has not acknowledged what was sent, which may still be written. Is it there? "
    "The same run_id finds the run."
)
NOT_SAID = (
    "The log has not said how the run ended. Is the broker there? The cancel may still be written."
)


class Patience:
    """Gives up runs whose end no worker reports."""

    def __init__(
        self, workers: WorkerWatch, give_up: Callable[[OpenRun, RunUnheard], None]
    ) -> None:
        self._workers = workers
        self._give_up = give_up

    def begin(self, run: OpenRun) -> None:
        """Wait for the run's own timeout and some more, from now on."""
        if run.timeout_seconds is None:
            return
        self.end(run)
        loop = asyncio.get_running_loop()
        run.deadline = loop.time() + run.timeout_seconds + GRACE_SECONDS
        run.patience = loop.call_at(run.deadline, self._lose, run)

    def end(self, run: OpenRun) -> None:
        """Stop the clock."""
        if run.patience is not None:
            run.patience.cancel()

    def _lose(self, run: OpenRun) -> None:
        if run.answered:
            advice = "Its worker has not reported; the run goes on when one is back."
        elif run.sent:
            advice = self._workers.advice
        else:
            advice = NOT_ACKNOWLEDGED
        self._give_up(run, RunUnheard(run.timeout_seconds or 0, advice))


def seconds_left(runs: Iterable[OpenRun]) -> float | None:
    """Return how long a record for *runs* is worth sending, in seconds; None for ever."""
    now = asyncio.get_running_loop().time()
    deadline = max((run.deadline for run in runs), default=now + _SEND_SECONDS)
    return None if math.isinf(deadline) else deadline - now
