"""
What a bulk run shows: a bar while it works, and in the end what failed and why.

All of it is on stderr; the results are in the output file.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from fleet.cli.shared import loop, terminal
from fleet.control.bulk import calls
from fleet.control.bulk.calls import Batch, Progress
from fleet.records.errors import ExitCode, FleetError


class SomeFailed(FleetError):
    """Raised at the end of a bulk run when items have no result."""

    exit_code = ExitCode.PARTLY_DONE

    def __init__(self, batch: Batch, progress: Progress) -> None:
        listed = "\n".join(f"  {reason}" for reason in progress.reasons)
        rest = progress.failed - len(progress.reasons)
        more = f"\n  and {rest:,} more, with `error` in {batch.output}" if rest else ""
        super().__init__(
            f"{progress.failed:,} of {progress.total:,} items have no result; the same command "
            f"tries them again:\n{listed}{more}"
        )


def run(batch: Batch, again: str) -> None:
    """Run *batch* to its end; *again* is the command that goes on after an interruption.

    Raises SomeFailed, and what `bulk.run` raises.
    """
    progress = Progress()
    try:
        with _shown(progress):
            loop.run(calls.run(batch, progress))
    except KeyboardInterrupt:
        _say(_farewell(batch, progress, again))
        raise
    _say(_summary(batch, progress))
    if progress.failed:
        raise SomeFailed(batch, progress)


@contextmanager
def _shown(progress: Progress) -> Iterator[None]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[failed]}"))
    with Bars(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
        task = bars.add_task("", total=None, failed="reading the input")

        def change() -> None:
            failed = f"{progress.failed:,} failed" if progress.failed else ""
            bars.update(task, total=progress.total, completed=progress.done, failed=failed)

        progress.changed = change
        yield


def _summary(batch: Batch, progress: Progress) -> str:
    before = f", {progress.skipped:,} of them before" if progress.skipped else ""
    done = progress.skipped + progress.finished
    return f"{done:,} of {progress.total:,} items done{before}: {batch.output}"


def _farewell(batch: Batch, progress: Progress, again: str) -> str:
    if not progress.total:
        return "Interrupted before anything was started."
    return (
        f"Interrupted: {progress.skipped + progress.finished:,} of {progress.total:,} results are "
        f"in {batch.output}. Runs under way go on without this command; to go on:\n  {again}"
    )


def _say(words: str) -> None:
    terminal.echo(words, err=True)
