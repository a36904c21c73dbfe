"""`fleet dead`: what could not go on, and letting its runs go on after the cause is gone."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import click

from fleet.cli import dead_redrive
from fleet.cli.shared import consent, loop, moments, options, output, terminal
from fleet.cli.views import dead as dead_shown
from fleet.config import settings as configuration
from fleet.control import times, workflows
from fleet.control.dead import letters as dead_letters
from fleet.control.dead import topic
from fleet.control.dead.letters import Filter
from fleet.control.dead.redrive import Order
from fleet.control.dead.topic import Found
from fleet.control.source import Source


def _filters(*cause: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what gives a command the options that choose letters; *cause* are names of one."""
    chosen = (
        click.option("--group", metavar="NAME", help="Step group; else the workflow's own."),
        click.option(
            *cause,
            "cause",
            metavar="WORD",
            help="Only these, as the column REASON has it: failed, undecodable, ...",
        ),
        click.option("--step", metavar="NAME", help="Only of this step."),
        click.option("--error", metavar="CLASS", help="Only with this exception."),
        click.option("--run", "run_id", metavar="ID", help="Only of this run."),
        click.option(
            "--since",
            type=moments.MOMENT,
            metavar="WHEN",
            help=f"Only since then: {times.FORMS} (UTC).",
        ),
    )

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(chosen):
            command = option(command)
        return command

    return decorate


@click.group()
def dead() -> None:
    """What could not go on, and letting it go on."""


@dead.command("list")
@click.argument("workflow")
@_filters("--cause", "--reason")
@options.limit(" All are counted.")
@options.output
@options.as_json
@options.broker
def list_(workflow: str, group: str | None, limit: int, form: str, **chosen: Any) -> None:
    """List the dead letters of WORKFLOW: counted by reason, step and error, then one by one.

    NOW is how the run of a letter stands: failed, going on after it was redriven, completed.
    """
    source = _source(workflow, group)
    found = loop.run(topic.look(source, _filter(**chosen)))
    newest = sorted(found.standings, key=lambda each: each.letter.at, reverse=True)
    shown = newest[:limit] if limit else newest
    groups = dead_shown.group_rows(dead_letters.groups(found.standings))
    if form == "json":
        listed = [dead_shown.fields(each) for each in shown]
        output.show_object({"groups": groups, "letters": listed})
    elif groups:
        output.show(groups, form)
        terminal.echo()
        output.show([dead_shown.row(each) for each in shown], form)
    _say(_summary(found, len(shown)))


@dead.command()
@click.argument("workflow")
@click.argument("letter", metavar="PARTITION:OFFSET")
@click.option("--group", metavar="NAME", help="Step group; else the workflow's own.")
@click.option(
    "--value",
    "with_value",
    is_flag=True,
    help="Show what the original record held, too: prompts and answers, in the clear.",
)
@options.output
@options.as_json
@options.broker
def show(workflow: str, letter: str, group: str | None, form: str, *, with_value: bool) -> None:
    """Show one dead letter of WORKFLOW with its stack."""
    place = dead_letters.place(letter)
    record = loop.run(topic.one(_source(workflow, group), place))
    shown = dead_shown.whole(record, with_value=with_value)
    if form == "json":
        output.show_object(shown)
    else:
        terminal.echo(dead_shown.text(shown))


@dead.command("redrive")
@click.argument("workflow")
@click.argument("letters", nargs=-1, metavar="[PARTITION:OFFSET]...")
@_filters("--cause")
@click.option("--all", "every", is_flag=True, help="Every letter; instead of a filter.")
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="At most so many runs, oldest first."
)
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Runs per second."
)
@click.option("--wait", is_flag=True, help="Follow the runs to their new ends.")
@click.option(
    "--timeout",
    "patience_seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to hear from no worker before giving up.",
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
    yes: bool,
    **chosen: Any,
) -> None:
    """Let the runs of dead letters of WORKFLOW go on, after what stopped them is gone.

    A run goes on as its next epoch where it stopped: the step that failed runs again, what had been
    done stays done. Choose letters by PARTITION:OFFSET, by filters, or take --all. One request per
    run; what is to be done, and what cannot be and why, is shown first. The same command again does
    no harm.

    \b
    Exit codes:
      0    all of them go on; with --wait, all have a result
      2    nothing was changed: nothing can be redriven, or nobody said yes
      3    a worker refused some, or none answered; with --wait, some ended without a result again
      4    no broker answers
      130  Ctrl-C: the batch under way is sent; the same command goes on
    """  # noqa: D301 - click's mark for lines that stay as they are
    source = _source(workflow, group)
    wanted = _filter(ids=tuple(map(dead_letters.place, letters)), **chosen)
    if wanted.takes_all != every:
        raise click.UsageError("choose letters, by PARTITION:OFFSET or by filters, or take --all")
    found = loop.run(topic.look(source, wanted))
    order = Order(
        asks=dead_letters.asks(found.standings, limit),
        following=dead_letters.under_way(found.standings) if wait else [],
        reason=reason,
        rate=rate,
        patience_seconds=patience_seconds,
        wait=wait,
    )
    dead_redrive.check_named(found, wanted)
    if dead_redrive.preview(found, order):
        consent.ask(f"Let {dead_shown.runs(len(order.asks))} go on?", yes=yes)
    progress = dead_redrive.redrive_all(source, found, order)
    dead_redrive.report(source, order, progress, form)


def _summary(found: Found, shown: int) -> str:
    count = len(found.standings)
    if not count:
        return "No dead letters."
    runs = len(set(dead_letters.run_ids(each.letter for each in found.standings)))
    ready = len(dead_letters.asks(found.standings))
    rest = output.rest(shown, count)
    return (
        f"{dead_shown.letters(count)} of {dead_shown.runs(runs)}{rest}. "
        f"{dead_shown.runs(ready)} can be redriven."
    )


def _filter(  # noqa: PLR0913 - by name, each an option
    *,
    cause: str | None,
    step: str | None,
    error: str | None,
    run_id: str | None,
    since: datetime | None,
    ids: Iterable[tuple[int, int]] = (),
) -> Filter:
    return Filter(cause, step, error, run_id, since, tuple(ids))


def _source(workflow: str, group: str | None) -> Source:
    return Source(workflows.find(workflow), configuration.current(), group)


def _say(words: str) -> None:
    terminal.echo(words, err=True)
