"""`fleet runs`: list the runs of a workflow and what they wait for, answer one, cancel some."""

from datetime import datetime

import click

from fleet.cli.shared import moments, options, types
from fleet.cli.shared.group import Group
from fleet.records.outcomes import OUTCOMES


@click.group(cls=Group)
def runs() -> None:
    """List the runs of a workflow and what they wait for, show one, answer it, cancel some."""


@runs.command("list")
@options.workflow
@click.option("--outcome", type=click.Choice(OUTCOMES), help="Only runs that stand so.")
@moments.option("--since", "Only runs that began, ended or were resumed since")
@options.limit()
@options.output
@options.as_json
@options.broker
def list_(
    workflow: str, outcome: str | None, since: datetime | None, limit: int, form: str
) -> None:
    """List the runs of WORKFLOW, the newest first.

    WORKFLOW is module:Class or the name of an installed workflow, as for `fleet run`. A run
    appears once a worker has taken it up. Times are UTC.
    """
    from fleet.cli.actions import runs as action

    action.list_runs(workflow, outcome, since, limit, form)


@runs.command()
@options.workflow
@click.argument("run_id")
@click.option(
    "--values",
    is_flag=True,
    help="Show the content of its events and its result, too: prompts and answers, as clear text.",
)
@click.option(
    "--all", "every", is_flag=True, help="List every attempt and every dead letter, also if many."
)
@options.output
@options.as_json
@options.broker
def show(workflow: str, run_id: str, form: str, *, values: bool, every: bool) -> None:
    """Show one run of WORKFLOW.

    Its life, its steps and its dead letters; the runs around it and inside of it, if it awaits
    others or is awaited (`ctx.run_workflow`). If many attempts of one step gave the same, as in a
    fan-out, they are one line with their number; those that failed are listed. JSON always has all.
    `fleet runs list` shows each RUN_ID. WORKFLOW is module:Class or the name of an installed
    workflow, as for `fleet run`.
    """
    from fleet.cli.actions import runs as action

    action.show_run(workflow, run_id, form, values=values, every=every)


@runs.command()
@options.workflow
@click.argument("run_ids", nargs=-1, metavar="[RUN_ID]...")
@click.option("--all-open", is_flag=True, help="Every running run, the oldest first; with --limit.")
@click.option(
    "--limit", type=types.Whole(min=1), metavar="N", help="With --all-open: at most N runs."
)
@moments.option("--before", "With --all-open: only runs that began before")
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
    """Cancel runs of WORKFLOW, and wait for their end.

    Name the runs, or take --all-open with --limit. The command waits until the end of each is in
    the log. Workers stop the steps that run; what was
    committed stays. You can resume a cancelled run for FLEET_RESUME_DAYS. The command shows what it
    would cancel, and asks.

    \b
    Exit codes:
      0    all of them are cancelled, now or before
      2    nothing was changed: none of them can be cancelled, or you did not say yes
      3    some had ended otherwise before, or are unknown
      4    no broker answers
      130  Ctrl-C: the batch under way is done; the same command continues
    """  # noqa: D301 - click's mark for lines that stay as they are
    if bool(run_ids) == all_open:
        raise click.UsageError("name the runs, or give --all-open and --limit")
    if all_open and limit is None:
        raise click.UsageError("--all-open needs --limit N: how many at most")
    if not all_open and (limit is not None or before is not None):
        raise click.UsageError("--limit and --before go with --all-open")
    from fleet.cli.actions import cancel as action

    action.cancel(workflow, action.Wanted(run_ids, limit, before), reason, form, yes=yes)


@runs.command()
@options.workflow
@click.option("--run", "run_id", metavar="RUN_ID", help="Only of this run: reads one partition.")
@click.option(
    "--limit",
    type=types.Whole(min=0),
    default=50,
    show_default=True,
    metavar="N",
    help="How many to list, the longest first; 0 lists all.",
)
@options.output
@options.as_json
@options.broker
def waiting(workflow: str, run_id: str | None, limit: int, form: str) -> None:
    """List the steps of WORKFLOW that wait for an event, the longest first.

    Who is asked what, since when, and until when the step waits: what a step gave to
    `ctx.wait_for_event`. The command reads the state topic, which takes longer the larger the state
    is. Answer with `fleet runs send`. Times are UTC.
    """
    from fleet.cli.actions import waiting as action

    action.list_waiting(workflow, run_id, limit, form)


@runs.command()
@options.workflow
@click.argument("run_id")
@click.argument("event_type", metavar="EVENT_TYPE")
@click.argument("fields", nargs=-1, metavar="[FIELD=VALUE]...")
@click.option("--step", help="Send it to this step alone, not to all that accept it.")
@options.reason
@options.output
@options.as_json
@options.broker
def send(  # noqa: PLR0913 - click gives each option a parameter
    workflow: str,
    run_id: str,
    event_type: str,
    fields: tuple[str, ...],
    step: str | None,
    reason: str,
    form: str,
) -> None:
    """Send an event to a run of WORKFLOW, such as the answer that it waits for.

    \b
      fleet runs send orders r-17 Approval approved:=true by=ann --reason "called her"

    EVENT_TYPE is the name of the event's class. Write a field as key=value, or as key:=JSON. The
    event goes to the steps that wait for it or accept it, as with `handler.send_event`. The command
    returns when the log has it.

    \b
    Exit codes:
      0    the event is sent
      2    nothing was sent: no such run, it has ended, or the fields do not make the event
      4    no broker answers
    """  # noqa: D301 - click's mark for lines that stay as they are
    from fleet.cli.actions import send as action

    action.send(workflow, run_id, event_type, fields, step=step, reason=reason, form=form)


@runs.command()
@options.workflow
@click.argument("run_id")
@options.broker
def export(workflow: str, run_id: str) -> None:
    """Print everything about a run of WORKFLOW as one JSON document.

    \b
      fleet runs export joke r-17 > run.json

    The document has the run's events, what happened to it, the attempts of its steps, and what the
    state keeps of it: its context, its suspended work, the recorded answers of its calls.
    `fleet.testing.replay("run.json")` runs what failed again in memory, and `fleet draw joke --run
    run.json` draws it. What is missing is said on stderr, too. The document holds the run's data:
    prompts and answers, as clear text. The command reads the state topic, which takes longer the
    larger the state is.

    \b
    Exit codes:
      0    the document is printed
      2    no such run
      4    no broker answers
    """  # noqa: D301 - click's mark for lines that stay as they are
    from fleet.cli.actions import export as action

    action.export_run(workflow, run_id)
