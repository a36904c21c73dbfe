"""What `fleet runs cancel` does: choose runs, show them, ask, cancel, report."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import click

from fleet.cli.actions.runs import source
from fleet.cli.shared import consent, counts, loop, output, terminal
from fleet.cli.views import bars
from fleet.control import audit, times
from fleet.control.runs import cancelling, topic
from fleet.control.runs.cancelling import CancelProgress, Selection
from fleet.control.runs.log import Run, RunLog
from fleet.control.source import Source
from fleet.kafka.topic_reader import Positions
from fleet.records import printable
from fleet.records.errors import ExitCode, FleetError

#: Ids that a preview and an audit record name.
_NAMED = 20
_AUDITED = 1_000


class NothingToCancel(FleetError):
    """Raised when none of the runs that you named can be cancelled.

    What to do: Look at `fleet runs list`: only runs that have not ended can be cancelled.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, selection: Selection) -> None:
        super().__init__(
            f"nothing was changed: {_others(selection)}; `fleet runs list` shows the runs"
        )


class SomeNotCancelled(FleetError):
    """Raised at the end when some of the runs were not cancelled.

    What to do: Read the reasons in the message; a run that has ended needs no cancel.
    """

    exit_code = ExitCode.PARTLY_DONE

    def __init__(self, cancelled: int, reasons: Sequence[str]) -> None:
        super().__init__(f"{cancelled:,} cancelled, and not these: {'; '.join(reasons)}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The runs to cancel: those with these ids, or else the oldest that are running."""

    run_ids: tuple[str, ...]
    #: At most this many, without ids.
    limit: int | None
    #: Only runs that began before, without ids.
    before: datetime | None

    def chosen(self, log: RunLog) -> Selection:
        """Return the runs that are meant, by what can be done about them."""
        if self.run_ids:
            return cancelling.select(log, self.run_ids)
        edge = self.before.timestamp() if self.before else None
        return cancelling.select_open(log, self.limit or 0, edge)


def cancel(workflow: str, wanted: Wanted, reason: str, form: str, *, yes: bool) -> None:
    """Cancel the runs that are *wanted* after a question; raise what the exit code needs."""
    place = source(workflow)
    known = loop.run(topic.runs(place, wanted.run_ids or None))
    selection = wanted.chosen(known[0])
    if not selection.open and (selection.overtaken or selection.unknown):
        raise NothingToCancel(selection)
    if not selection.open:
        terminal.say("Nothing to do: none of them is running.")
        return
    _preview(selection)
    consent.ask(f"Cancel {counts.runs(len(selection.open))}?", yes=yes)
    progress = CancelProgress()
    loop.run(_cancel(place, selection, reason, known, progress))
    _report(selection, progress, form)


async def _cancel(
    place: Source,
    selection: Selection,
    reason: str,
    known: tuple[RunLog, Positions],
    progress: CancelProgress,
) -> None:
    ids = [run.id for run in selection.open]
    await audit.record(
        place.settings,
        command="runs cancel",
        workflow=place.workflow.workflow_name,
        reason=reason,
        details={"runs": len(ids), "run_ids": ids[:_AUDITED]},
    )
    with bars.bar() as move:
        progress.changed = lambda: move(progress.known, progress.total, "")
        await cancelling.cancel(place, selection.open, reason, known=known, progress=progress)


def _report(selection: Selection, progress: CancelProgress, form: str) -> None:
    done = len(progress.cancelled)
    if form == "json":
        output.show_object(
            {
                "cancelled": progress.cancelled,
                "overtaken": progress.overtaken,
                "ended_before": {run.id: run.outcome for run in selection.ended},
                "unknown": selection.unknown,
                "left": selection.left,
            }
        )
    if progress.interrupted is not None:
        total, again = counts.runs(progress.total), consent.this_command()
        terminal.say(f"Interrupted: {done:,} of {total} cancelled. To continue:\n  {again}")
        raise click.exceptions.Exit(progress.interrupted.exit_code)
    reasons = [*_overtaken(progress), *filter(None, [_others(selection)])]
    if reasons:
        raise SomeNotCancelled(done, reasons)
    rest = f" {selection.left:,} more are running." if selection.left else ""
    terminal.say(f"{counts.runs(done)} cancelled.{rest}")


def _preview(selection: Selection) -> None:
    terminal.say(output.plain([_preview_row(run) for run in selection.open[:_NAMED]]))
    more = len(selection.open) - _NAMED
    unlisted = f", {more:,} of them not listed" if more > 0 else ""
    left = f"; {selection.left:,} more are running" if selection.left else ""
    terminal.say(f"{counts.runs(len(selection.open))} to be cancelled{unlisted}{left}.")
    if others := _others(selection):
        terminal.say(f"Not these: {others}.")


def _preview_row(run: Run) -> dict[str, object]:
    age = f"{time.time() - run.started_at:,.0f} s" if run.started_at is not None else "?"
    started = times.shown(run.started_at) if run.started_at is not None else None
    return {"run": run.id, "started": started, "age": age, "epoch": run.epoch or None}


def _others(selection: Selection) -> str:
    """Say which of the runs that you named are not running."""
    ended = [f"{run.id} ended before ({run.outcome})" for run in selection.overtaken]
    unknown = [f"{run_id} is not known (not begun, or another id)" for run_id in selection.unknown]
    return _some([*ended, *unknown])


def _overtaken(progress: CancelProgress) -> list[str]:
    told = [
        f"{printable.line(run_id)} was {how} first" for run_id, how in progress.overtaken.items()
    ]
    return [_some(told)] if told else []


def _some(told: list[str]) -> str:
    more = len(told) - _NAMED
    return "; ".join([*told[:_NAMED], *([f"and {more:,} more"] if more > 0 else [])])
