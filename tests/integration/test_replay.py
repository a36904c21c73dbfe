"""`fleet replay` on a real broker with a real worker, killed and going on."""

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import bare
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from click.testing import CliRunner, Result
from poison_flow import PoisonFlow
from workers import SUPPORT, WorkerProcess

from fleet.cli import main
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker
from fleet.kafka import provision
from fleet.records.envelope import Envelope
from fleet.records.partitions import partition_of
from fleet.records.topics import Topics
from fleet.workflow import definition

pytestmark = pytest.mark.kafka

FLOW = "poison_flow:PoisonFlow"
ASKED = f"{FLOW}.Asked"
EVENTS = 400


class Place:
    """A prefix of its own with start events, a worker, and the command line as processes."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.folder = folder
        self.bootstrap = broker.address.removeprefix("kafka://")
        self.settings = Settings(
            broker=broker.address, prefix=f"rp{uuid4().hex[:8]}", data_dir=folder, partitions=3
        )
        self.topics = Topics(self.settings.prefix, PoisonFlow.workflow_name, PoisonFlow.group_name)
        self.environment = {
            "FLEET_BROKER": broker.address,
            "FLEET_PREFIX": self.settings.prefix,
            "FLEET_DATA_DIR": str(folder),
            "FLEET_PARTITIONS": "3",
        }

    async def ask(self, count: int) -> None:
        """Append start events as a caller does; every tenth cannot be decoded."""
        await provision.ensure(self.topics, definition.graph(PoisonFlow), self.settings)
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, linger_ms=5)
        await producer.start()
        try:
            for number in range(count):
                run_id = f"first-{number}"
                topic = {"topic": f"{'even' if number % 2 == 0 else 'odd'}"}
                await producer.send(
                    self.topics.event("Asked"),
                    key=run_id.encode(),
                    value=b"no JSON" if number % 10 == 0 else json.dumps(topic).encode(),
                    headers=Envelope(run_id=run_id, event_id="e", type="Asked").headers(),
                    partition=partition_of(run_id, 3),
                )
            await producer.flush()
        finally:
            await producer.stop()

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        fleet = str(Path(sys.executable).with_name("fleet"))
        return subprocess.Popen(
            [fleet, *arguments],
            env={**os.environ, **self.environment, "PYTHONPATH": str(SUPPORT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str) -> Result:
        # The option makes the command read its settings anew.
        command = ("--broker", self.settings.broker, *arguments)
        return CliRunner().invoke(main.main, command, env=self.environment)

    def json(self, *arguments: str) -> Any:
        result = self(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def records(self, topic: str, replay_id: str) -> list[Any]:
        """Return the records of a replay's runs, as anybody reads them."""
        found = asyncio.run(bare.read(self.bootstrap, topic))
        return [each for each in found if bare.run_id(each).startswith(f"replay-{replay_id}-")]

    def lives(self, replay_id: str) -> tuple[Counter[str], Counter[str]]:
        """Return how often each run of a replay was started, and how often it completed."""
        kinds: dict[str, Counter[str]] = {"started": Counter(), "completed": Counter()}
        for each in self.records(self.topics.runs, replay_id):
            kinds.setdefault(bare.header(each, "fleet-type"), Counter())[bare.run_id(each)] += 1
        assert kinds.keys() == {"started", "completed"}
        return kinds["started"], kinds["completed"]


@pytest.fixture(scope="module")
def place(kafka_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """With start events of which a tenth cannot be decoded, and a worker."""
    place = Place(kafka_broker, tmp_path_factory.mktemp("replay"))
    asyncio.run(place.ask(EVENTS))
    worker = WorkerProcess("poison_flow", place.folder / "worker.log", **place.environment)
    yield place
    worker.stop()


def until(is_so: Callable[[], bool]) -> None:
    """Return when it is so; the test's own timeout ends the waiting."""
    while not is_so():
        time.sleep(0.2)


def replay_id(told: str) -> str:
    found = re.search(r"Replay (\w+)\.", told)
    assert found, told
    return found[1]


def line_with(process: subprocess.Popen[str], words: str) -> str:
    """Return the first line on stderr that holds *words*."""
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return line
    raise AssertionError(f"it ended with {process.wait()} and never said {words!r}")


def test_a_replay_that_is_killed_and_goes_on_starts_one_run_per_event(place: Place) -> None:
    """Whenever it is killed; what cannot be decoded is left out, and never what it sent itself."""
    left_out, meant = EVENTS // 10, EVENTS - EVENTS // 10
    moments = random.Random(6)
    begin = ("replay", ASKED, "--since", "1d", "--rate", "40", "--reason", "new prompt")

    asked = place(*begin)
    assert asked.exit_code == 2
    assert f"{meant} events of {place.topics.event('Asked')} become new runs" in asked.stderr
    assert f"Left out: {left_out} events that cannot be read as Asked now." in asked.stderr
    assert "add --yes" in asked.stderr

    with place.popen(*begin, "--yes") as process:
        identity = replay_id(line_with(process, "Replay "))
        time.sleep(moments.uniform(0, 2))
        process.kill()
    again = ("replay", "--resume", identity)
    with place.popen(*again) as process:
        line_with(process, f"of {meant} events left")
        time.sleep(moments.uniform(0, 2))
        process.kill()
    done = place.json(*again, "--rate", "1000")
    assert (done["events"], done["sent"], done["resume"]) == (meant, meant, None)
    assert 0 < done["sent_here"] < meant

    until(lambda: len(place.lives(identity)[1]) == meant)
    originals = asyncio.run(bare.read(place.bootstrap, place.topics.event("Asked")))
    wanted = {
        f"replay-{identity}-Asked-{each.partition}-{each.offset}"
        for each in originals
        if bare.run_id(each).startswith("first-") and each.value != b"no JSON"
    }
    started, completed = place.lives(identity)
    assert started == completed == Counter(wanted)
    # Not even the records are there twice, so that copies are exact, too.
    sent = place.records(place.topics.event("Asked"), identity)
    assert Counter(map(bare.run_id, sent)) == Counter(wanted)
    assert {bare.header(each, "fleet-replays") for each in sent} == {"1"}

    over = place.json(*again)
    assert (over["sent"], over["sent_here"]) == (meant, 0)
    audit = [each for each in place.json("audit", "list") if identity in str(each["details"])]
    assert [each["command"] for each in audit] == ["replay resume"] * 2 + ["replay"]
    assert {each["reason"] for each in audit} == {"new prompt"}


def test_ctrl_c_finishes_the_batch_and_prints_what_goes_on(place: Place) -> None:
    """Only with the fields and as many as were asked for; what goes on knows them still."""
    chosen = ("--where", "topic=even", "--limit", "40", "--rate", "10", "--reason", "x", "--yes")
    with place.popen("replay", ASKED, *chosen) as process:
        identity = replay_id(line_with(process, "Replay "))
        until(lambda: bool(place.records(place.topics.event("Asked"), identity)))
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert process.returncode == 130
    assert f"fleet replay --resume {identity}" in told
    sent = re.search(r"Interrupted: (\d+) of 40 events were sent", told)
    assert sent, told
    assert len(place.records(place.topics.event("Asked"), identity)) == int(sent[1]) < 40

    assert place.json("replay", "--resume", identity, "--rate", "1000")["sent"] == 40
    values = [each.value for each in place.records(place.topics.event("Asked"), identity)]
    assert values == [b'{"topic": "even"}'] * 40


def test_an_event_of_the_middle_begins_a_run_only_if_its_context_is_not_needed(
    place: Place,
) -> None:
    """Refused with the reason; else the run has an end, and no start."""
    told = f"{FLOW}.Told"
    until(lambda: len(asyncio.run(bare.read(place.bootstrap, place.topics.event("Told")))) >= 5)
    middle = ("replay", told, "--limit", "5", "--reason", "x", "--yes")
    refused = place(*middle)
    assert (refused.exit_code, "in the middle of a run" in refused.stderr) == (2, True)

    begun = place.json(*middle, "--context", "empty")["replay"]
    until(lambda: len(place.records(place.topics.runs, begun)) == 5)
    ends = place.records(place.topics.runs, begun)
    assert {bare.header(each, "fleet-type") for each in ends} == {"completed"}
    shown = place.json("runs", "show", FLOW, bare.run_id(ends[0]))
    assert [each["step"] for each in shown["steps"]] == ["judge"]


def test_a_run_can_begin_in_its_middle_with_a_context(place: Place, tmp_path: Path) -> None:
    """The step that follows reads what an earlier one would have kept."""
    until(lambda: len(asyncio.run(bare.read(place.bootstrap, place.topics.event("Told")))) >= 5)
    context = tmp_path / "context.json"
    context.write_text('{"audience": {"who": "pirates"}}')
    command = ("replay", f"{FLOW}.Told", "--limit", "5", "--reason", "x", "--yes")
    begun = place.json(*command, "--context", str(context))["replay"]
    until(lambda: len(place.records(place.topics.runs, begun)) == 5)
    ends = place.records(place.topics.runs, begun)
    assert all(b" for pirates" in (each.value or b"") for each in ends)


def test_copies_are_the_records_as_they_are(place: Place) -> None:
    """Key, value and headers; no run starts, and a topic of the workflow's own is refused."""
    copies = f"{place.settings.prefix}-copies"
    asyncio.run(make_topic(place.bootstrap, copies))
    command = ("replay", ASKED, "--run", "first-0", "--run", "first-1", "--reason", "x", "--yes")
    assert place.json(*command, "--to-topic", copies)["sent"] == 2

    found = asyncio.run(bare.read(place.bootstrap, copies))
    originals = asyncio.run(bare.read(place.bootstrap, place.topics.event("Asked")))
    wanted = [each for each in originals if bare.run_id(each) in {"first-0", "first-1"}]
    parts = [sorted((e.key, e.value, e.headers) for e in each) for each in (found, wanted)]
    assert parts[0] == parts[1]

    for topic, reason in ((place.topics.inbox, "is a topic of poison"), ("nope", "has no topic")):
        refused = place(*command, "--to-topic", topic)
        assert (refused.exit_code, reason in refused.stderr) == (2, True)


def test_only_what_was_sent_is_said_to_be(kafka_broker: Broker, tmp_path: Path) -> None:
    """Whoever was overtaken says so and no more; what was deleted meanwhile is told as missing."""
    place = Place(kafka_broker, tmp_path)
    asyncio.run(place.ask(100))
    topic = place.topics.event("Asked")
    ends = asyncio.run(end_offsets(place.bootstrap, topic))
    begin = ("replay", ASKED, "--from", "0", "--rate", "10", "--reason", "x", "--yes")
    with place.popen(*begin) as first:
        identity = replay_id(line_with(first, "Replay "))
        until(lambda: bool(place.records(topic, identity)))
        again = ("replay", "--resume", identity)
        with place.popen(*again, "--rate", "2") as second:
            line_with(second, "of 90 events left")
            _, told = first.communicate()
            second.send_signal(signal.SIGINT)
            second.communicate()
    assert (first.returncode, second.returncode) == (3, 130)
    assert told.startswith("Error: another process has continued")
    assert told.splitlines()[1:] == ["See docs/reference.md#replaytaken"]

    asyncio.run(delete(place.bootstrap, topic, ends))
    result = place(*again, "--json")
    sent = len(place.records(topic, identity))
    assert 0 < sent < 90
    shown = json.loads(result.stdout)
    assert (shown["events"], shown["sent"], shown["missing"]) == (90, sent, 90 - sent)
    assert result.exit_code == 3
    assert f"{90 - sent} of the 90 events counted before could not be" in result.stderr


async def end_offsets(bootstrap: str, topic: str) -> dict[TopicPartition, int]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        found: dict[TopicPartition, int] = await consumer.end_offsets(
            [TopicPartition(topic, each) for each in range(3)]
        )
        return found
    finally:
        await consumer.stop()


async def delete(bootstrap: str, topic: str, ends: dict[TopicPartition, int]) -> None:
    """Delete what is before *ends*, as retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_records({tp: RecordsToDelete(end) for tp, end in ends.items()})
    finally:
        await admin.close()


async def make_topic(bootstrap: str, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1)])
    finally:
        await admin.close()
