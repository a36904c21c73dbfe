"""`fleet replay`: start new runs from events in the log, or copy the events elsewhere."""

from collections.abc import Mapping
from typing import Any

import click

from fleet.cli.shared import moments, options, types

#: Without a bound, a run that replays its own workflow would never end.
_MAX_REPLAYS = 5
#: The options that choose events; one of them must.
_BOUNDS = ("since", "until", "first", "last", "run_ids", "where", "limit")


@click.command()
@click.argument("event", required=False, metavar="WORKFLOW.EVENT")
@moments.option("--since", "Only events from then on")
@moments.option("--until", "Only events from before then")
@click.option(
    "--from",
    "first",
    multiple=True,
    metavar="[PARTITION:]OFFSET",
    help="From this offset on. Repeatable; with PARTITION, only the partitions that you name.",
)
@click.option(
    "--to", "last", multiple=True, metavar="[PARTITION:]OFFSET", help="Up to and with this offset."
)
@click.option(
    "--run", "run_ids", multiple=True, metavar="ID", help="Only events of this run. Repeatable."
)
@click.option(
    "--where",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Only events with this value, as in customer.country=ES. Repeatable: all must hold.",
)
@click.option(
    "--limit", type=types.Whole(min=1), metavar="N", help="At most N events, the oldest first."
)
@click.option(
    "--rate", type=types.Number(min=0, min_open=True), metavar="N", help="Events per second."
)
@click.option(
    "--to-topic", default="", metavar="NAME", help="Copy the events there; start no runs."
)
@click.option(
    "--context",
    default="",
    metavar="empty|FILE",
    help="Begin runs in their middle, with this context: a JSON object, or nothing.",
)
@click.option(
    "--max-replays",
    type=types.Whole(min=1),
    default=_MAX_REPLAYS,
    show_default=True,
    metavar="N",
    help="Leave out events that come from N replays in a row.",
)
@click.option("--resume", "resumed", metavar="ID", help="Continue a replay that was stopped.")
@click.option("--reason", metavar="TEXT", help="Why; the audit topic keeps it.")
@options.yes
@options.output
@options.as_json
@options.broker
def replay(
    event: str | None,
    resumed: str | None,
    reason: str | None,
    form: str,
    *,
    yes: bool,
    **chosen: Any,
) -> None:
    """Start new runs from events in the log, or copy the events elsewhere.

    WORKFLOW.EVENT is joke.StartEvent or myapp.flows:Hello.StartEvent. Choose events with --since,
    --until, --from, --to, --run, --where or --limit; --from 0 takes all that the topic keeps. The
    command counts them, shows what it would do, and asks. Each event becomes exactly one run, also
    if you kill the command and continue with --resume, which needs no other option.

    \b
    Exit codes:
      0    all were sent
      2    nothing was changed: nothing can be replayed, or you did not say yes
      3    not all were sent: some are gone, or another process continues the replay
      4    no broker answers
      130  Ctrl-C: the batch under way is sent; the command that continues is printed
    """  # noqa: D301 - click's mark for lines that stay as they are
    from fleet.cli.actions import replay as action

    if resumed is not None:
        _check_alone(click.get_current_context())
        action.resume(resumed, chosen["rate"], form)
        return
    if event is None:
        raise click.UsageError(
            "name the events as WORKFLOW.EVENT, such as joke.StartEvent; or continue a replay with "
            "--resume ID"
        )
    if reason is None:
        raise click.UsageError("give a --reason TEXT; the audit topic keeps it")
    _check_chosen(chosen)
    action.begin(action.wanted(event, **chosen), reason, form, yes=yes)


def _check_chosen(chosen: Mapping[str, Any]) -> None:
    if not any(chosen[name] for name in _BOUNDS):
        raise click.UsageError(
            "say which events: --since, --until, --from, --to, --run, --where or --limit; "
            "--from 0 takes all that the topic keeps"
        )
    if chosen["to_topic"] and chosen["context"]:
        raise click.UsageError("--to-topic starts no runs, so it takes no --context")


def _check_alone(context: click.Context) -> None:
    """Raise UsageError if an option stands beside --resume that it would ignore."""
    heeded = {"resumed", "rate", "yes", "form"}
    given = [
        parameter.opts[0] if parameter.param_type_name == "option" else "WORKFLOW.EVENT"
        for parameter in context.command.params
        if parameter.name
        and parameter.name not in heeded
        and parameter.expose_value
        and context.get_parameter_source(parameter.name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(
            f"--resume continues what was begun, so it takes no {', '.join(given)}; you can change "
            "only --rate"
        )
