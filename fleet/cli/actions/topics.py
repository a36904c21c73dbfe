"""What `fleet topics` does: compare a workflow's topics with the broker's, and create some."""

from collections.abc import Sequence
from dataclasses import asdict

from fleet.cli.shared import consent, counts, loop, output, terminal
from fleet.config import settings as configuration
from fleet.config.settings import Settings
from fleet.control import topic_lists, workflows
from fleet.control.topic_lists import Line
from fleet.kafka import provision


def list_topics(workflow: str, form: str) -> None:
    """Print every topic that the workflow needs."""
    found, settings = workflows.find(workflow), configuration.current()
    plan = loop.run(topic_lists.planned(found, settings))
    _show(topic_lists.lines(plan, found, settings), form)


def apply(workflow: str, partitions: int | None, form: str, *, yes: bool) -> None:
    """Create the topics that are missing, after a question."""
    found, settings = workflows.find(workflow), _with_partitions(partitions)
    plan = loop.run(topic_lists.planned(found, settings))
    topic_lists.check_partitions(plan, found, partitions)
    _show(topic_lists.lines(plan, found, settings), form)
    if not plan.missing:
        terminal.say(f"Nothing to do: {found.workflow_name} has all its topics.")
        return
    _preview(plan, settings)
    consent.ask("Create them?", yes=yes)
    loop.run(topic_lists.apply(plan, found, settings))
    made = counts.of(len(plan.missing), "topic")
    terminal.say(f"Created {made}; a workflow's have {plan.partitions} partitions each.")


def _with_partitions(partitions: int | None) -> Settings:
    settings = configuration.current()
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
    terminal.say(
        f"{counts.of(len(plan.missing), 'topic')} missing at {settings.broker}. The workflow's get "
        f"{plan.partitions} partitions, which you cannot change later, and {copies} as replication "
        "factor."
    )
