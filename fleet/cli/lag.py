"""`fleet lag`: how far step groups are behind, once or again and again."""

from typing import Any

import click

from fleet.cli.shared import options, types


@click.command()
@click.argument("workflow", required=False)
@click.option("--partitions", is_flag=True, help="A line for each partition.")
@click.option("--watch", is_flag=True, help="Look again and again, until Ctrl-C.")
@click.option(
    "--every",
    "every_seconds",
    type=types.Number(min=0.5),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often, with --watch.",
)
@click.option(
    "--fail-above-seconds",
    "limit_seconds",
    type=types.Number(min=0),
    metavar="N",
    help="End with exit code 5 if a record is older than that and not done.",
)
@options.output
@options.as_json
@options.broker
def lag(workflow: str | None, every_seconds: float, **shown: Any) -> None:
    """Show the records that are not done yet, and the age of the oldest one in seconds.

    For all step groups of FLEET_PREFIX, or for those of WORKFLOW: its name on the broker,
    module:Class, or the name of an installed workflow. No worker needs to run.
    """
    from fleet.cli.actions import lag as action

    view = action.View(**shown)
    if view.watch:
        action.watch(workflow, view, every_seconds)
    else:
        action.show(workflow, view)
