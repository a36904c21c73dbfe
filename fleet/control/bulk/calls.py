"""
Makes runs of a workflow from a file, and writes their results into another.

Run ids come from the input. So after any interruption you repeat the command: it skips items with a
result, and finds runs that it started before instead of starting them again.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fleet.client.connection import connect
from fleet.client.handler import WorkflowHandler
from fleet.control import calls
from fleet.control.bulk import input as bulk_input
from fleet.control.bulk import output as bulk_output
from fleet.control.bulk.input import Item
from fleet.control.bulk.output import Failure, Results
from fleet.control.calls import RunFailed
from fleet.kafka.transport import LogUnreadable
from fleet.records import printable
from fleet.records.errors import ExitCode, FleetError
from fleet.records.events import Event
from fleet.workflow.errors import (
    EndGone,
    RunConflict,
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
)
from fleet.workflow.workflow import Workflow

#: How many failures to list; the output has all of them.
_LISTED = 20


class NobodyAnswers(FleetError):
    """Raised when no worker has started run after run.

    What to do: Start a worker, then repeat the command: it continues, and starts nothing twice.
    """

    exit_code = ExitCode.PARTLY_DONE

    def __init__(self, count: int, last: str) -> None:
        super().__init__(
            f"{count} run{'' if count == 1 else 's'} in a row had no answer, so the command starts "
            f"no more; repeat it to continue from here. The last one: {last}"
        )


class Flow(Protocol):
    """Starts runs: a connection, or a workflow in memory."""

    def run(self, start_event: Event, /, *, run_id: str) -> WorkflowHandler[Any]:
        """Start a run."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """The runs to make."""

    workflow: type[Workflow]
    #: One JSON object per line; see `bulk_input`.
    input: Path
    #: A new file, or the output of an earlier call.
    output: Path
    #: Runs under way at a time.
    concurrency: int
    #: The time limit of one run; None sets none.
    timeout_seconds: float | None
    #: First part of the runs' ids: the same items under another name are other runs.
    name: str | None = None


@dataclass(slots=True)
class BatchProgress:
    """How far a batch is. The caller creates it, so it can report however the batch ends."""

    #: Items in the input; 0 during the check of the input.
    total: int = 0
    #: Items with a result from an earlier call.
    skipped: int = 0
    finished: int = 0
    failed: int = 0
    #: The first failures, one line per failure.
    reasons: list[str] = field(default_factory=list)
    #: Called at each change.
    changed: Callable[[], object] = lambda: None

    @property
    def done(self) -> int:
        """Items that are over, with or without a result."""
        return self.skipped + self.finished + self.failed

    def skip(self, count: int) -> None:
        """Note how many results earlier calls have written."""
        self.skipped = count
        self.changed()

    def fail(self, item: Item, failure: Failure) -> None:
        """Count a failure."""
        self.failed += 1
        if len(self.reasons) < _LISTED:
            self.reasons.append(
                f"line {item.line} (id {printable.line(item.key)}): {failure.message}"
            )
        self.changed()

    def finish(self) -> None:
        """Count a result."""
        self.finished += 1
        self.changed()


async def run(batch: Batch, progress: BatchProgress) -> None:
    """Run every item without a result, on the workers of the workflow.

    Raises InputRefused, OutputTaken, OutputRefused, NobodyAnswers, and the errors of `connect`.
    """
    calls.check(batch.timeout_seconds)
    keys = bulk_input.check(batch.input, batch.workflow, batch.name)
    progress.total = len(keys)
    with bulk_output.opened(batch.output) as results:
        progress.skip(sum(key in results.done for key in keys))
        if progress.skipped == progress.total:
            return
        async with connect(batch.workflow, timeout=batch.timeout_seconds) as flow:
            await Work(batch, results, progress, flow).all()


class Work:
    """The runs of one call."""

    def __init__(self, batch: Batch, results: Results, progress: BatchProgress, flow: Flow) -> None:
        self._batch = batch
        self._results = results
        self._progress = progress
        self._flow = flow
        self._unheard = 0

    async def all(self) -> None:
        """Run every item without a result."""
        # The file is read again, so it need not fit into memory.
        items = bulk_input.items(self._batch.input, self._batch.workflow)
        pending = (item for item in items if item.key not in self._results.done)
        tasks = [asyncio.create_task(self._run(pending)) for _ in range(self._batch.concurrency)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _run(self, pending: Iterator[Item]) -> None:
        for item in pending:
            await self._one(item)

    async def _one(self, item: Item) -> None:
        newest = self._results.next_attempt(item)
        # Failed attempts first: an operator may have resumed one, and its result is paid for.
        for attempt in (*range(newest - 1, 0, -1), newest):
            run_id = item.run_id(self._batch.name, attempt)
            handler = self._flow.run(item.event, run_id=run_id)
            try:
                result = await calls.outcome(handler)
            except Exception as error:  # noqa: BLE001 - any error is the item's outcome
                if attempt < newest and _is_as_before(handler, error):
                    continue
                self._failed(item, run_id, error)
            else:
                self._unheard = 0
                self._results.append_result(item, run_id, result)
                self._progress.finish()
            return

    def _failed(self, item: Item, run_id: str, error: Exception) -> None:
        failure = _failure(error)
        self._results.append_failure(item, run_id, failure)
        self._progress.fail(item, failure)
        self._check_answers(error, failure)

    def _check_answers(self, error: Exception, failure: Failure) -> None:
        self._unheard = 0 if failure.ended else self._unheard + 1
        # Without a readable log no later run would be heard of, with workers or without.
        if self._unheard >= self._batch.concurrency or isinstance(error, LogUnreadable):
            raise NobodyAnswers(self._unheard, failure.message)


def _failure(error: Exception) -> Failure:
    raised = error.__cause__ if isinstance(error, RunFailed) else None
    return Failure(
        type=type(raised or error).__name__,
        message=str(error) if isinstance(error, FleetError) else calls.told(error),
        ended=_has_ended(raised or error),
    )


def _is_as_before(handler: WorkflowHandler, error: Exception) -> bool:
    """Tell whether a run that failed in an earlier call has no other end since then."""
    return handler.was_known and (_failure(error).ended or isinstance(error, EndGone))


def _has_ended(error: BaseException) -> bool:
    """Tell whether the run is over: then only another run can give a result."""
    # The engine adds notes to a step's error.
    noted = bool(getattr(error, "__notes__", ()))
    # Not their subclasses: those say that the run was not reached. The first one is a result that
    # cannot be read.
    over = (WorkflowRuntimeError, WorkflowTimeoutError, WorkflowCancelledByUser, RunConflict)
    return noted or type(error) in over
