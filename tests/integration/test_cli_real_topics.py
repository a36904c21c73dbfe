"""`fleet topics` on a real broker."""

import asyncio
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from click.testing import CliRunner, Result

from fleet.cli import main
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker
from fleet.joke import JokeFlow
from fleet.kafka import provision
from fleet.kafka.provision import TopicsMismatched
from fleet.kafka.topic_settings import COMPACTED
from fleet.records.topics import Topics
from fleet.workflow import definition

pytestmark = pytest.mark.kafka


class Command:
    """`fleet topics` under a prefix of its own."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.prefix = f"topics{uuid4().hex[:8]}"

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(
            main.main,
            ["topics", *arguments, "--broker", self.broker.address],
            env={"FLEET_PREFIX": self.prefix},
        )

    def answered(self, answer: str) -> subprocess.CompletedProcess[str]:
        """Run `apply` in a terminal, where somebody answers its question."""
        terminal, stdin = pty.openpty()
        os.write(terminal, answer.encode() + b"\n")
        try:
            return subprocess.run(
                [Path(sys.executable).with_name("fleet"), "topics", "apply", "joke"],
                stdin=stdin,
                capture_output=True,
                text=True,
                env={
                    **os.environ,
                    "FLEET_PREFIX": self.prefix,
                    "FLEET_BROKER": self.broker.address,
                },
                check=False,
            )
        finally:
            os.close(stdin)
            os.close(terminal)

    def listed(self) -> dict[str, tuple[str, int]]:
        """Return status and partitions of every topic."""
        lines = json.loads(self("list", "joke", "-o", "json").stdout)
        return {line["topic"]: (line["status"], line["partitions"]) for line in lines}

    def there(self) -> set[tuple[str, int]]:
        """Return status and partitions of the workflow's own topics."""
        listed = self.listed()
        del listed[f"{self.prefix}.audit"]
        return set(listed.values())


@pytest.fixture
def topics(kafka_broker: Broker) -> Command:
    return Command(kafka_broker)


async def created(
    topics: Command, partitions: dict[str, int], config: dict[str, str] | None = None
) -> None:
    """Create topics of the joke flow by another hand."""
    admin = AIOKafkaAdminClient(bootstrap_servers=topics.broker.bootstrap)
    await admin.start()
    stamped = {"message.timestamp.type": "LogAppendTime"}
    await admin.create_topics(
        [
            NewTopic(f"{topics.prefix}.joke.{name}", count, 1, topic_configs=config or stamped)
            for name, count in partitions.items()
        ]
    )
    # A broker acknowledges a topic a moment before it shows it.
    names = {f"{topics.prefix}.joke.{name}" for name in partitions}
    shown: set[str] = set()
    while not names <= shown:
        shown = {each["topic"] for each in await admin.describe_topics()}
    await admin.close()


def test_what_is_missing_is_shown_created_and_then_present(topics: Command) -> None:
    """The preview first, then the topics, and the second time nothing to do."""
    assert topics.there() == {("missing", 8)}

    applied = topics("apply", "joke", "--yes", "--partitions", "2")
    assert applied.exit_code == 0
    assert applied.stdout.count("missing") == 9
    assert "Created 9 topics; a workflow's have 2 partitions each." in applied.stderr

    assert topics.there() == {("present", 2)}
    assert topics.listed()[f"{topics.prefix}.audit"] == ("present", 1)
    again = topics("apply", "joke")
    assert (again.exit_code, again.stderr) == (0, "Nothing to do: joke has all its topics.\n")


def test_new_topics_have_the_configuration_that_the_list_shows(topics: Command) -> None:
    """Events are stamped by the broker, the state is compacted."""
    before = json.loads(topics("apply", "joke", "--yes", "-o", "json").stdout)
    after = json.loads(topics("list", "joke", "-o", "json").stdout)
    for planned, found in zip(before, after, strict=True):
        assert planned["config"].items() <= found["config"].items()
    configs = {line["topic"]: line["config"] for line in after}
    assert configs[f"{topics.prefix}.joke.main.state"]["cleanup.policy"] == "compact"
    assert {config["message.timestamp.type"] for config in configs.values()} == {"LogAppendTime"}


def test_the_settings_that_are_relied_on_are_said_and_not_left_to_the_broker(
    topics: Command,
) -> None:
    """What is kept is not compacted nor cut by its size; the state is compacted soon."""
    topics("apply", "joke", "--yes")
    configs = {
        line["topic"].removeprefix(f"{topics.prefix}."): line["config"]
        for line in json.loads(topics("list", "joke", "-o", "json").stdout)
    }
    state = configs.pop("joke.main.state")
    assert dict(COMPACTED).items() <= state.items()
    assert len(configs) == 8
    for config in configs.values():
        assert (config["cleanup.policy"], config["retention.bytes"]) == ("delete", "-1")
    assert configs["audit"]["retention.ms"] == "-1"


@pytest.mark.parametrize(
    ("name", "setting", "wrong", "said"),
    [
        (
            "StartEvent",
            "cleanup.policy",
            "compact",
            "joke.StartEvent must have cleanup.policy=delete",
        ),
        ("runs", "cleanup.policy", "compact,delete", "joke.runs must have cleanup.policy=delete"),
        ("inbox", "cleanup.policy", "compact", "joke.inbox must have cleanup.policy=delete"),
        ("main.dead", "cleanup.policy", "compact", "main.dead must have cleanup.policy=delete"),
        ("main.state", "cleanup.policy", "delete", "main.state must have cleanup.policy=compact"),
        ("main.state", "cleanup.policy", "compact,delete", "must have cleanup.policy=compact"),
        ("main.state", "delete.retention.ms", "3600000", "delete.retention.ms=86400000"),
        ("runs", "message.timestamp.type", "CreateTime", "message.timestamp.type=LogAppendTime"),
    ],
)
async def test_a_topic_that_was_made_with_another_setting_is_said(
    topics: Command, name: str, setting: str, wrong: str, said: str
) -> None:
    """By the command line, and by a worker: with the topic, and what to do."""
    config = {"message.timestamp.type": "LogAppendTime"}
    config |= {"cleanup.policy": "compact"} if name == "main.state" else {}
    await created(topics, {name: 2}, config | {setting: wrong})

    settings = Settings(broker=topics.broker.address, prefix=topics.prefix)
    names = Topics(topics.prefix, "joke", "main")
    with pytest.raises(TopicsMismatched, match=re.escape(said)) as refused:
        await provision.ensure(names, definition.graph(JokeFlow), settings)

    assert "set it with kafka-configs --alter --add-config" in str(refused.value)


def test_nothing_is_created_unasked(topics: Command) -> None:
    """Without a terminal and without --yes it is refused, with 2."""
    result = topics("apply", "joke")
    assert result.exit_code == 2
    assert "add --yes" in result.stderr
    assert topics.there() == {("missing", 8)}


def test_whoever_says_no_gets_nothing(topics: Command) -> None:
    """The question says how many partitions there will be, and that this stays."""
    refused = topics.answered("n")
    assert refused.returncode == 2
    assert "8 partitions, which you cannot change later" in refused.stderr
    assert "nothing was changed" in refused.stderr
    assert topics.there() == {("missing", 8)}


def test_whoever_says_yes_gets_the_topics(topics: Command) -> None:
    """In a terminal the question is enough."""
    assert topics.answered("y").returncode == 0
    assert topics.there() == {("present", 8)}


def test_missing_topics_follow_those_that_are_there(topics: Command) -> None:
    """All topics of a workflow have one partition count; another is refused, with 2."""
    asyncio.run(created(topics, {"runs": 3}))

    refused = topics("apply", "joke", "--yes", "--partitions", "4")
    assert refused.exit_code == 2
    assert "have 3 partitions" in refused.stderr
    assert topics.there() == {("missing", 3), ("present", 3)}

    assert topics("apply", "joke", "--yes").exit_code == 0
    assert topics.there() == {("present", 3)}


@pytest.mark.parametrize("command", [["list", "joke"], ["apply", "joke", "--yes"]])
def test_topics_that_do_not_fit_together_are_told(command: list[str], topics: Command) -> None:
    """With their counts and the way out; nothing is added to them."""
    asyncio.run(created(topics, {"runs": 3, "JokeEvent": 5}))

    result = topics(*command)

    assert (result.exit_code, result.stdout) == (2, "")
    assert f"3: {topics.prefix}.joke.runs; 5: {topics.prefix}.joke.JokeEvent" in result.stderr
    assert "use a new FLEET_PREFIX" in result.stderr
