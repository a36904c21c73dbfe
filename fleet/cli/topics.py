"""`fleet topics`: what a workflow needs on the broker, and making what is missing."""

from collections.abc import Sequence
from dataclasses import asdict

import click

from fleet.cli.shared import consent, loop, options, output, terminal
from fleet.config import settings as configuration
from fleet.config.settings import Settings
from fleet.control import topic_lists, workflows
from fleet.control.topic_lists import Line
from fleet.kafka import provision


@click.group()
def topics() -> None:
    """Show and create the topics of a workflow."""


@topics.command("list")
@click.argument("workflow")
@options.output
@options.broker
def list_(workflow: str, form: str) -> None:
    """List every topic that WORKFLOW needs: present or missing, and what it is for.

    WORKFLOW is module:Class or the name of an installed workflow, as for `fleet run`.
    """
    found = workflows.find(workflow)
    settings = configuration.current()
    plan = loop.run(topic_lists.planned(found, settings))
    _show(topic_lists.lines(plan, found, settings), form)


@topics.command()
@click.argument("workflow")
@click.option(
    "--partitions",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="Of new topics; instead of FLEET_PARTITIONS. It cannot be changed later.",
)
@click.option("--yes", is_flag=True, help="Create what is missing without asking.")
@options.output
@options.broker
def apply(workflow: str, partitions: int | None, form: str, *, yes: bool) -> None:
    """Create the topics that WORKFLOW needs and the broker lacks.

    Shows what is there and what is missing, and asks before it creates anything. Topics that are
    there are not touched.
    """
    found = workflows.find(workflow)
    settings = _with_partitions(configuration.current(), partitions)
    plan = loop.run(topic_lists.planned(found, settings))
    topic_lists.check_partitions(plan, found, partitions)
    _show(topic_lists.lines(plan, found, settings), form)
    if not plan.missing:
        _say(f"Nothing to do: {found.workflow_name} has all its topics.")
        return
    _preview(plan, settings)
    consent.ask("Create them?", yes=yes)
    loop.run(topic_lists.apply(plan, found, settings))
    made = len(plan.missing)
    _say(f"Created {made} topics; a workflow's have {plan.partitions} partitions each.")


def _with_partitions(settings: Settings, partitions: int | None) -> Settings:
    return settings.model_copy(update={"partitions": partitions} if partitions else {})


def _show(lines: Sequence[Line], form: str) -> None:
    rows = [asdict(line) if form == "json" else _row(line) for line in lines]
    output.show(rows, form)


def _row(line: Line) -> dict[str, object]:
    return {
        "topic": line.topic,
        "status": line.status,
        "partitions": line.partitions,
        "keeps": line.keeps,
        "purpose": line.purpose,
    }


def _preview(plan: provision.Plan, settings: Settings) -> None:
    copies = "the broker's default" if settings.replication < 0 else settings.replication
    _say(
        f"{len(plan.missing)} topics are missing at {settings.broker}. New ones get "
        f"{plan.partitions} partitions, for good, and {copies} as replication factor."
    )


def _say(words: str) -> None:
    terminal.echo(words, err=True)
