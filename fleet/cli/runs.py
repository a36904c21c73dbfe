"""`fleet runs`: what became of a workflow's runs, and stopping some that go on."""

import time
from collections.abc import Sequence
from datetime import datetime

import click

from fleet.cli.shared import consent, loop, moments, options, output, terminal
from fleet.cli.views import bars
from fleet.cli.views import run as run_shown
from fleet.config import settings as configuration
from fleet.control import audit, times, workflows
from fleet.control.runs import cancelling, topic
from fleet.control.runs.cancelling import Progress, Selection
from fleet.control.runs.log import OUTCOMES, Run, RunLog
from fleet.control.source import Source
from fleet.kafka.topic_reader import Positions
from fleet.records import printable
from fleet.records.errors import ExitCode, FleetError

#: Ids that a preview and an audit record name.
_NAMED = 20
_AUDITED = 1_000


class NothingToCancel(FleetError):
    """Raised when none of the runs that were named can be cancelled."""

    exit_code = ExitCode.REFUSED

    def __init__(self, selection: Selection) -> None:
        super().__init__(f"nothing was changed: {_others(selection)}")


class SomeNotCancelled(FleetError):
    """Raised at the end when some of the runs were not cancelled."""

    exit_code = ExitCode.PARTLY_DONE

    def __init__(self, cancelled: int, reasons: Sequence[str]) -> None:
        super().__init__(f"{cancelled:,} cancelled, and not these: {'; '.join(reasons)}")


@click.group()
def runs() -> None:
    """What became of a workflow's runs, and stopping some."""


@runs.command("list")
@click.argument("workflow")
@click.option("--outcome", type=click.Choice(OUTCOMES), help="Only these.")
@click.option(
    "--since",
    type=moments.MOMENT,
    metavar="WHEN",
    help=f"Only those that began, ended or were resumed since: {times.FORMS} (UTC).",
)
@options.limit()
@options.output
@options.as_json
@options.broker
def list_(
    workflow: str, outcome: str | None, since: datetime | None, limit: int, form: str
) -> None:
    """List the runs of WORKFLOW that its `runs` topic knows, the newest first.

    A run is there from when a worker has taken it up. Times are UTC.
    """
    log, _ = loop.run(topic.runs(_source(workflow)))
    found = _matching(log, outcome, since)
    shown = found[:limit] if limit else found
    make = run_shown.fields if form == "json" else run_shown.row
    if shown or form == "json":
        output.show([make(run) for run in shown], form)
    _say(f"{run_shown.counted(found)}{output.rest(len(shown), len(found))}")


@runs.command()
@click.argument("workflow")
@click.argument("run_id")
@click.option(
    "--values",
    is_flag=True,
    help="Show what is in the events and the result, too: prompts and answers, in the clear.",
)
@options.output
@options.as_json
@options.broker
def show(workflow: str, run_id: str, form: str, *, values: bool) -> None:
    """Show everything about the run RUN_ID of WORKFLOW: its life, its steps, its dead letters."""
    story = loop.run(topic.story(_source(workflow), run_id, with_values=values))
    if form == "json":
        output.show_object(run_shown.story_fields(story))
        return
    for heading, rows in run_shown.story_rows(story).items():
        if rows:
            terminal.echo(f"{heading}:")
            output.show(rows, form)
            terminal.echo()


@runs.command()
@click.argument("workflow")
@click.argument("run_ids", nargs=-1, metavar="[RUN_ID]...")
@click.option(
    "--all-open", is_flag=True, help="Every run that goes on, the oldest first; with --limit."
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --all-open: at most so many.",
)
@click.option(
    "--before",
    type=moments.MOMENT,
    metavar="WHEN",
    help=f"With --all-open: only those that began before: {times.FORMS} (UTC).",
)
@options.reason
@options.yes
@options.output
@options.as_json
@options.broker
def cancel(  # noqa: PLR0913 - click gives each option a parameter
    workflow: str,
    run_ids: tuple[str, ...],
    limit: int | None,
    before: datetime | None,
    reason: str,
    form: str,
    *,
    all_open: bool,
    yes: bool,
) -> None:
    """Cancel runs of WORKFLOW that go on, and wait until their end is in the log.

    Their steps in flight are stopped; what was committed stays. A cancelled run can be resumed for
    FLEET_RESUME_DAYS. What is to be cancelled is shown first.

    \b
    Exit codes:
      0    all of them are cancelled, by this command or before
      2    nothing was changed: none of them can be cancelled, or nobody said yes
      3    some had ended otherwise before, or are not known
      4    no broker answers
      130  Ctrl-C: the batch under way is done; the same command goes on
    """  # noqa: D301 - click's mark for lines that stay as they are
    _check_bound(run_ids, limit, before, all_open=all_open)
    source = _source(workflow)
    known = loop.run(topic.runs(source, run_ids or None))
    if all_open:
        edge = before.timestamp() if before else None
        selection = cancelling.select_open(known[0], limit or 0, edge)
    else:
        selection = cancelling.select(known[0], run_ids)
    if not selection.open and (selection.overtaken or selection.unknown):
        raise NothingToCancel(selection)
    if not selection.open:
        _say("Nothing to do: none of them goes on.")
        return
    _preview(selection)
    consent.ask(f"Cancel {_runs(len(selection.open))}?", yes=yes)
    progress = Progress()
    loop.run(_cancel(source, selection, reason, known, progress))
    _report(selection, progress, form)


async def _cancel(
    source: Source,
    selection: Selection,
    reason: str,
    known: tuple[RunLog, Positions],
    progress: Progress,
) -> None:
    ids = [run.id for run in selection.open]
    await audit.record(
        source.settings,
        command="runs cancel",
        workflow=source.workflow.workflow_name,
        reason=reason,
        details={"runs": len(ids), "run_ids": ids[:_AUDITED]},
    )
    with bars.bar() as move:
        progress.changed = lambda: move(progress.known, progress.total, "")
        await cancelling.cancel(source, selection.open, reason, known=known, progress=progress)


def _report(selection: Selection, progress: Progress, form: str) -> None:
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
        again = consent.this_command()
        _say(f"Interrupted: {done:,} of {_runs(progress.total)} cancelled. To go on:\n  {again}")
        raise click.exceptions.Exit(progress.interrupted.exit_code)
    reasons = [*_overtaken(progress), *filter(None, [_others(selection)])]
    if reasons:
        raise SomeNotCancelled(done, reasons)
    rest = f" {selection.left:,} more go on." if selection.left else ""
    _say(f"{_runs(done)} cancelled.{rest}")


def _preview(selection: Selection) -> None:
    _say(output.plain([_preview_row(run) for run in selection.open[:_NAMED]]))
    more = len(selection.open) - _NAMED
    unlisted = f", {more:,} of them not listed" if more > 0 else ""
    left = f"; {selection.left:,} more go on" if selection.left else ""
    _say(f"{_runs(len(selection.open))} to be cancelled{unlisted}{left}.")
    if others := _others(selection):
        _say(f"Not these: {others}.")


def _preview_row(run: Run) -> dict[str, object]:
    age = f"{time.time() - run.started_at:,.0f} s" if run.started_at is not None else "?"
    started = times.shown(run.started_at) if run.started_at is not None else None
    return {"run": run.id, "started": started, "age": age, "epoch": run.epoch or None}


def _others(selection: Selection) -> str:
    """Say which of the runs that were named do not go on."""
    ended = [f"{run.id} ended before ({run.outcome})" for run in selection.overtaken]
    unknown = [f"{each} is not known (not begun, or another id)" for each in selection.unknown]
    return _some([*ended, *unknown])


def _overtaken(progress: Progress) -> list[str]:
    told = [
        f"{printable.line(run_id)} was {how} first" for run_id, how in progress.overtaken.items()
    ]
    return [_some(told)] if told else []


def _some(told: list[str]) -> str:
    more = len(told) - _NAMED
    return "; ".join([*told[:_NAMED], *([f"and {more:,} more"] if more > 0 else [])])


def _matching(log: RunLog, outcome: str | None, since: datetime | None) -> list[Run]:
    edge = since.timestamp() if since else 0.0
    found = [run for run in log if run.at >= edge and outcome in (None, run.outcome)]
    return sorted(found, key=lambda run: run.started_at or run.at, reverse=True)


def _check_bound(
    run_ids: tuple[str, ...], limit: int | None, before: datetime | None, *, all_open: bool
) -> None:
    if bool(run_ids) == all_open:
        raise click.UsageError("name the runs, or give --all-open and --limit")
    if all_open and limit is None:
        raise click.UsageError("--all-open needs --limit N: how many at most")
    if not all_open and (limit is not None or before is not None):
        raise click.UsageError("--limit and --before go with --all-open")


def _source(workflow: str) -> Source:
    return Source(workflows.find(workflow), configuration.current())


def _runs(count: int) -> str:
    return f"{count:,} run{'' if count == 1 else 's'}"


def _say(words: str) -> None:
    terminal.echo(words, err=True)
