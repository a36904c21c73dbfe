"""`fleet groups`: the step groups, and who works in them."""

import click

from fleet.cli.shared import options
from fleet.cli.shared.group import Group


@click.group(cls=Group)
def groups() -> None:
    """List the step groups, and who works in them."""


@groups.command("list")
@options.output
@options.as_json
@options.broker
def list_(form: str) -> None:
    """List the step groups of FLEET_PREFIX.

    Their state, workers, partitions, lag and steps. STATE is the consumer group's: Stable, Empty
    without workers, Absent if no worker has ever joined. Steps are shown for workflows that are
    installed here.
    """
    from fleet.cli.actions import lag as action

    action.list_groups(form)
