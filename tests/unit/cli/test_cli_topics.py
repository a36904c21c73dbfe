"""`fleet topics` without a broker: what is listed, and what is refused."""

import pytest
from click.testing import CliRunner

from fleet.cli import main
from fleet.config.settings import Settings
from fleet.control import topic_lists
from fleet.joke import JokeFlow
from fleet.kafka import provision
from fleet.kafka.provision import Found, Plan
from fleet.records.topics import Topics
from fleet.workflow import definition

SETTINGS = Settings(prefix="p", partitions=3)
NAMES = Topics("p", "joke", "main")


def plan(*present: str, partitions: int = 3) -> Plan:
    """Return a plan of the joke flow's topics, of which these are there."""
    wanted = (*provision.wanted(NAMES, definition.graph(JokeFlow), SETTINGS), provision.audit("p"))
    found = {name: Found(name, partitions, {"retention.ms": "3600000"}) for name in present}
    return Plan(wanted, found, partitions)


def test_every_topic_is_listed_once_with_what_it_is_for() -> None:
    """What a worker needs is what is listed, and what the command line writes to."""
    lines = topic_lists.lines(plan(), JokeFlow, SETTINGS)
    needed = [*NAMES.all(["StartEvent", "JokeEvent"]), NAMES.audit]
    assert sorted(line.topic for line in lines) == sorted(needed)
    purposes = {line.topic: line.purpose for line in lines}
    assert purposes["p.joke.JokeEvent"] == "events of type JokeEvent"
    assert all(purposes.values())


def test_a_topic_is_present_or_missing() -> None:
    """A present one shows what it has, a missing one what it will get."""
    lines = {line.topic: line for line in topic_lists.lines(plan(NAMES.runs), JokeFlow, SETTINGS)}
    assert (lines[NAMES.runs].status, lines[NAMES.runs].keeps) == ("present", "1 hours")
    assert (lines[NAMES.inbox].status, lines[NAMES.inbox].keeps) == ("missing", "14 days")
    assert lines[NAMES.state].keeps == "the latest of each key"


def test_records_may_be_kept_for_ever() -> None:
    """A topic without retention, made by somebody else."""
    line = topic_lists.Line("t", "present", 1, {"retention.ms": "-1"}, "")
    assert line.keeps == "forever"


def test_another_partition_count_than_the_topics_have_is_refused() -> None:
    """All topics of a workflow have the same one, for good."""
    with pytest.raises(topic_lists.PartitionsFixed, match=r"have 3 partitions.*FLEET_PREFIX"):
        topic_lists.check_partitions(plan(NAMES.runs), JokeFlow, 4)


def test_the_audit_topic_has_one_partition_whatever_the_workflow_has() -> None:
    """It belongs to all workflows of a prefix."""
    lines = {line.topic: line for line in topic_lists.lines(plan(), JokeFlow, SETTINGS)}
    assert (lines[NAMES.audit].partitions, lines[NAMES.runs].partitions) == (1, 3)
    topic_lists.check_partitions(plan(NAMES.audit, partitions=1), JokeFlow, 4)


@pytest.mark.parametrize(("present", "asked"), [([], 4), ([NAMES.runs], 3), ([NAMES.runs], None)])
def test_a_partition_count_that_fits_is_taken(present: list[str], asked: int | None) -> None:
    """Any for new topics, the same for those that are there."""
    topic_lists.check_partitions(plan(*present), JokeFlow, asked)


@pytest.mark.parametrize("command", ["list", "apply"])
@pytest.mark.parametrize(("workflow", "code"), [("joke", 4), ("jok", 2)])
def test_what_cannot_be_asked_is_a_sentence_and_a_code(
    command: str, workflow: str, code: int
) -> None:
    """No broker is 4, a wrong name 2."""
    result = CliRunner().invoke(
        main.main, ["topics", command, workflow, "--broker", "kafka://127.0.0.1:1"]
    )
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("Error: no ")
    _, address = result.stderr.splitlines()
    assert address.startswith("See docs/reference.md#")
