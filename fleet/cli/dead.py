"""`fleet dead`: list dead letters, show one, resume the runs that stopped at them."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from fleet.cli.shared import moments, options, types
from fleet.cli.shared.group import Group

_Command = TypeVar("_Command", bound=Callable[..., Any])

_group = click.option("--group", metavar="NAME", help="Step group; else the workflow's own.")


def _filters(*cause: str) -> Callable[[_Command], _Command]:
    """Return what gives a command the options that choose letters; *cause* are names of one."""
    chosen = (
        _group,
        click.option(
            *cause,
            "cause",
            metavar="WORD",
            help="Only letters with this word in the column REASON: failed, undecodable, ...",
        ),
        click.option("--step", metavar="NAME", help="Only letters of this step."),
        click.option("--error", metavar="CLASS", help="Only letters with this exception."),
        click.option("--run", "run_id", metavar="ID", help="Only letters of this run."),
        moments.option("--since", "Only letters since then"),
    )

    def decorate(command: _Command) -> _Command:
        for option in reversed(chosen):
            command = option(command)
        return command

    return decorate


@click.group(cls=Group)
def dead() -> None:
    """List dead letters, show one, resume their runs."""


@dead.command("list")
@options.workflow
@_filters("--cause", "--reason")
@options.limit(" All are counted.")
@options.output
@options.as_json
@options.broker
def list_(workflow: str, group: str | None, limit: int, form: str, **chosen: Any) -> None:
    """List the dead letters of WORKFLOW.

    Counts them by reason, step and error, then lists them one by one. WORKFLOW is module:Class or
    the name of an installed workflow, as for `fleet run`. NOW shows how the letter's run stands:
    failed, running after a redrive, completed.
    """
    from fleet.cli.actions import dead as action

    source = action.source(workflow, group)
    action.list_letters(source, action.chosen(**chosen), limit, form)


@dead.command()
@options.workflow
@click.argument("letter", metavar="PARTITION:OFFSET")
@_group
@click.option(
    "--value",
    "with_value",
    is_flag=True,
    help="Show the original record's value, too: prompts and answers, as clear text.",
)
@options.output
@options.as_json
@options.broker
def show(workflow: str, letter: str, group: str | None, form: str, *, with_value: bool) -> None:
    """Show one dead letter of WORKFLOW with its stack.

    `fleet dead list` shows each letter's PARTITION:OFFSET. WORKFLOW is module:Class or the name of
    an installed workflow, as for `fleet run`.
    """
    from fleet.cli.actions import dead as action

    place = action.place(letter)
    action.show_letter(action.source(workflow, group), place, form, with_value=with_value)


@dead.command("redrive")
@options.workflow
@click.argument("letters", nargs=-1, metavar="[PARTITION:OFFSET]...")
@_filters("--cause")
@click.option("--all", "every", is_flag=True, help="Every letter; instead of a filter.")
@click.option(
    "--limit", type=types.Whole(min=1), metavar="N", help="At most N runs, the oldest first."
)
@click.option(
    "--rate", type=types.Number(min=0, min_open=True), metavar="N", help="Runs per second."
)
@click.option("--wait", is_flag=True, help="Follow the runs to their new ends.")
@click.option(
    "--fresh",
    is_flag=True,
    help="Let the failed steps make recorded calls again: ctx.memo, answers of models, other runs.",
)
@click.option(
    "--timeout",
    "patience_seconds",
    type=types.Number(min=0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up after this long without an answer of a worker.",
)
@options.reason
@options.yes
@options.output
@options.as_json
@options.broker
def redrive_(  # noqa: PLR0913 - click gives each option a parameter
    workflow: str,
    letters: tuple[str, ...],
    group: str | None,
    limit: int | None,
    rate: float | None,
    patience_seconds: float,
    reason: str,
    form: str,
    *,
    every: bool,
    wait: bool,
    fresh: bool,
    yes: bool,
    **chosen: Any,
) -> None:
    """Resume the runs of dead letters of WORKFLOW.

    Fix the cause first, and roll the workers out. A run continues as its next epoch from where it
    stopped: the step that failed runs again, what was done stays done. Choose letters by
    PARTITION:OFFSET, by filters, or take --all. The command shows what it would resume, and what it
    cannot resume and why, and asks. It sends one request per run; repeating it does no harm.

    \b
    Exit codes:
      0    all of them run; with --wait, all have a result
      2    nothing was changed: no run can be resumed, or you did not say yes
      3    a worker refused some, or none answered; with --wait, some ended without a result again
      4    no broker answers
      130  Ctrl-C: the batch under way is sent; the same command continues
    """  # noqa: D301 - click's mark for lines that stay as they are
    from fleet.cli.actions import redrive as action

    source = action.source(workflow, group)
    wanted = action.chosen(letters, **chosen)
    if wanted.takes_all != every:
        raise click.UsageError("choose letters, by PARTITION:OFFSET or by filters, or take --all")
    how = action.How(reason, limit, rate, patience_seconds, wait, fresh)
    action.redrive(source, wanted, how, form, yes=yes)
