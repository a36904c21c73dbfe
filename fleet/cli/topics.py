"""`fleet topics`: the topics that a workflow needs, and creating those that are missing."""

import click

from fleet.cli.shared import options, types
from fleet.cli.shared.group import Group


@click.group(cls=Group)
def topics() -> None:
    """List the topics of a workflow, and create them."""


@topics.command("list")
@options.workflow
@options.output
@options.as_json
@options.broker
def list_(workflow: str, form: str) -> None:
    """List every topic that WORKFLOW needs.

    Present or missing, how long it keeps records, and what it is for. WORKFLOW is module:Class or
    the name of an installed workflow, as for `fleet run`.
    """
    from fleet.cli.actions import topics as action

    action.list_topics(workflow, form)


@topics.command()
@options.workflow
@click.option(
    "--partitions",
    type=types.Whole(1, 10_000),
    metavar="N",
    help="Of new topics; instead of FLEET_PARTITIONS. You cannot change it later.",
)
@click.option("--yes", is_flag=True, help="Create what is missing without asking.")
@options.output
@options.as_json
@options.broker
def apply(workflow: str, partitions: int | None, form: str, *, yes: bool) -> None:
    """Create the topics that WORKFLOW needs and the broker lacks.

    Shows which topics are present and which are missing, and asks before it creates any. It never
    changes a topic that exists.
    """
    from fleet.cli.actions import topics as action

    action.apply(workflow, partitions, form, yes=yes)
