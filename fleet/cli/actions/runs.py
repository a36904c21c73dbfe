"""What `fleet runs list` and `fleet runs show` do."""

from datetime import datetime

from fleet.cli.shared import loop, output, terminal
from fleet.cli.views import run as run_shown
from fleet.config import settings as configuration
from fleet.control import workflows
from fleet.control.runs import topic, tree
from fleet.control.runs.log import Run, RunLog
from fleet.control.source import Source


def list_runs(
    workflow: str, outcome: str | None, since: datetime | None, limit: int, form: str
) -> None:
    """Print the runs that match, the newest first, and count them on stderr."""
    log, _ = loop.run(topic.runs(source(workflow)))
    found = _matching(log, outcome, since)
    shown = found[:limit] if limit else found
    make = run_shown.fields if form == "json" else run_shown.row
    if shown or form == "json":
        output.show([make(run) for run in shown], form)
    terminal.say(f"{run_shown.counted(found)}{output.rest(len(shown), len(found))}")


def show_run(workflow: str, run_id: str, form: str, *, values: bool, every: bool) -> None:
    """Print everything about one run; *every* attempt and dead letter if they are many."""
    where = source(workflow)
    details = loop.run(topic.details(where, run_id, with_values=values))
    around = loop.run(tree.tree(where, details))
    if form == "json":
        output.show_object(run_shown.details_fields(details) | run_shown.tree_fields(around))
        return
    if not around.is_alone:
        terminal.echo("Tree:")
        output.show(run_shown.tree_rows(around), form)
        terminal.echo()
    for heading, rows in run_shown.details_rows(details, every=every).items():
        if rows:
            terminal.echo(f"{heading}:")
            output.show(rows, form)
            terminal.echo()
    if not every and (told := run_shown.left_out(details)):
        terminal.say(told)


def source(workflow: str) -> Source:
    """Return where the runs of *workflow* are."""
    return Source(workflows.find(workflow), configuration.current())


def _matching(log: RunLog, outcome: str | None, since: datetime | None) -> list[Run]:
    edge = since.timestamp() if since else 0.0
    found = [run for run in log if run.at >= edge and outcome in (None, run.outcome)]
    return sorted(found, key=lambda run: run.started_at or run.at, reverse=True)
