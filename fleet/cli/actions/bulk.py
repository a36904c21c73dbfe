"""
What `fleet run --input` does: a run of each line, a bar while it works, at the end what failed.

All of it is on stderr; the results are in the output file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fleet.cli.shared import consent, loop, terminal
from fleet.control import workflows
from fleet.control.bulk import calls
from fleet.control.bulk.calls import Batch, BatchProgress
from fleet.records.errors import ExitCode, FleetError


class SomeFailed(FleetError):
    """Raised at the end of a bulk run when items have no result.

    What to do: Repeat the command: it tries the failed lines again, and keeps the results.
    """

    exit_code = ExitCode.PARTLY_DONE

    def __init__(self, batch: Batch, progress: BatchProgress) -> None:
        listed = "\n".join(f"  {reason}" for reason in progress.reasons)
        rest = progress.failed - len(progress.reasons)
        more = f"\n  and {rest:,} more, with `error` in {batch.output}" if rest else ""
        super().__init__(
            f"{progress.failed:,} of {progress.total:,} items have no result; the same command "
            f"tries them again:\n{listed}{more}"
        )


def run_file(
    workflow: str,
    files: tuple[Path, Path],
    concurrency: int,
    timeout_seconds: float | None,
    run_id: str | None,
) -> None:
    """Make a run of each line of the first of *files*; the results go to the second."""
    _run(Batch(workflows.find(workflow), *files, concurrency, timeout_seconds, run_id))


def _run(batch: Batch) -> None:
    """Run *batch* to its end; raises SomeFailed, and what `calls.run` raises."""
    progress = BatchProgress()
    try:
        with _shown(progress):
            loop.run(calls.run(batch, progress))
    except KeyboardInterrupt:
        terminal.say(_farewell(batch, progress))
        raise
    terminal.say(_summary(batch, progress))
    if progress.failed:
        raise SomeFailed(batch, progress)


@contextmanager
def _shown(progress: BatchProgress) -> Iterator[None]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[failed]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
        task = bars.add_task("", total=None, failed="reading the input")

        def change() -> None:
            failed = f"{progress.failed:,} failed" if progress.failed else ""
            bars.update(task, total=progress.total, completed=progress.done, failed=failed)

        progress.changed = change
        yield


def _summary(batch: Batch, progress: BatchProgress) -> str:
    before = f", {progress.skipped:,} of them before" if progress.skipped else ""
    done = progress.skipped + progress.finished
    return f"{done:,} of {progress.total:,} items done{before}: {batch.output}"


def _farewell(batch: Batch, progress: BatchProgress) -> str:
    if not progress.total:
        return "Interrupted before a run was started."
    return (
        f"Interrupted: {progress.skipped + progress.finished:,} of {progress.total:,} results are "
        f"in {batch.output}. The runs under way continue without this command. To get the rest:\n"
        f"  {consent.this_command()}"
    )
