"""Lag seen from outside, on a real broker, against what is known to be undone."""

import asyncio
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import bare
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from click.testing import CliRunner, Result
from patience_flow import PatienceFlow
from prometheus_client.parser import text_string_to_metric_families
from workers import WorkerProcess

from fleet import connect
from fleet.cli import main
from fleet.config.settings import Settings
from fleet.control.lag import exporter_metrics, reader
from fleet.control.lag.exporter import SHARED_SECONDS
from fleet.control.lag.reader import GroupLag, LagReader, PartitionLag
from fleet.dev import kafka
from fleet.dev.kafka import Broker

pytestmark = pytest.mark.kafka

#: Labels and values by name.
Samples = dict[str, list[tuple[dict[str, str], float]]]

#: Clocks count milliseconds.
ROUNDING = 0.002


class Place:
    """A prefix of its own with at most one worker."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker = broker
        self.folder = folder
        self.settings = Settings(
            broker=broker.address, prefix=f"lag{uuid4().hex[:8]}", data_dir=folder, partitions=2
        )
        self.variables = {
            "FLEET_BROKER": broker.address,
            "FLEET_PREFIX": self.settings.prefix,
            "FLEET_DATA_DIR": str(folder),
        }
        self.worker: WorkerProcess | None = None

    @property
    def start_topic(self) -> str:
        return f"{self.settings.prefix}.patience.StartEvent"

    def work(self) -> WorkerProcess:
        log = self.folder / "worker.log"
        self.worker = WorkerProcess("patience_flow", log, **self.variables)
        return self.worker

    def stop(self) -> None:
        if self.worker:
            self.worker.stop()

    async def run(self, seconds: list[float], *, await_results: bool) -> None:
        async with connect(PatienceFlow, settings=self.settings, timeout=60) as flow:
            expected = await self.starts() + len(seconds)
            handlers = [flow.run(seconds=each) for each in seconds]
            if await_results:
                await asyncio.gather(*handlers)
            else:
                await until(lambda: self._there(expected))

    async def _there(self, expected: int) -> bool:
        return await self.starts() >= expected

    async def starts(self) -> int:
        return len(await bare.read(self.broker.bootstrap, self.start_topic))

    async def oldest_ms(self, topic: str) -> dict[int, int]:
        """Return the append time of the first record of each partition."""
        found: dict[int, int] = {}
        for record in await bare.read(self.broker.bootstrap, topic):
            found.setdefault(record.partition, record.timestamp)
        return found

    async def look(self) -> GroupLag:
        [group] = await reader.look(self.settings)
        return group

    def command(self, *arguments: str) -> Result:
        # With --broker the settings are read anew.
        return CliRunner().invoke(
            main.main, [*arguments, "--broker", self.broker.address], env=self.variables
        )


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - the broker has no event for it
            await asyncio.sleep(0.05)


def of(group: GroupLag, topic: str) -> dict[int, PartitionLag]:
    return {each.partition: each for each in group.partitions if each.topic == topic}


def assert_nothing_undone(group: GroupLag) -> None:
    assert [each for each in group.partitions if each.records or each.seconds] == []
    assert (group.records, group.seconds, group.exact) == (0, 0.0, True)


@pytest.fixture
def place(kafka_broker: Broker, tmp_path: Path) -> Iterator[Place]:
    place = Place(kafka_broker, tmp_path)
    yield place
    place.stop()


@pytest.fixture(scope="module")
def stuck(kafka_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A worker with one step that lasts, and forty runs behind it that are done."""
    place = Place(kafka_broker, tmp_path_factory.mktemp("stuck"))
    place.work()
    asyncio.run(place.run([600], await_results=False))
    asyncio.run(place.run([0.0] * 40, await_results=True))
    asyncio.run(until(lambda: _only_the_first_is_undone(place)))
    yield place
    place.stop()


async def _only_the_first_is_undone(place: Place) -> bool:
    return (await place.look()).records == 1


async def test_lag_where_no_worker_has_ever_been(place: Place) -> None:
    """Every record since the beginning, and the age of each partition's oldest by its append."""
    await place.run([0.0] * 7, await_results=False)
    oldest = await place.oldest_ms(place.start_topic)
    # Old enough that a number that does not grow would be noticed.
    await asyncio.sleep(max(0.0, 3 - (time.time() - min(oldest.values()) / 1000)))

    before = time.time()
    group = await place.look()
    after = time.time()

    assert (group.state, group.members, group.records, group.exact) == ("Absent", 0, 7, True)
    for partition, appended_ms in oldest.items():
        seconds = of(group, place.start_topic)[partition].seconds
        assert before - ROUNDING <= seconds + appended_ms / 1000 <= after + ROUNDING
    assert group.seconds == max(each.seconds for each in group.partitions)


async def test_a_step_that_lasts_is_all_the_lag_there_is(stuck: Place) -> None:
    """What is done behind it counts for nothing; its own age grows by the clock."""
    [long] = [
        each
        for each in await bare.read(stuck.broker.bootstrap, stuck.start_topic)
        if b"600" in (each.value or b"")
    ]
    async with LagReader(stuck.settings) as reader:
        # The second look has what the first one found.
        for _ in range(2):
            before = time.time()
            [group] = await reader.look()
            after = time.time()
            [undone] = [each for each in group.partitions if each.records]
            assert (group.state, group.members) == ("Stable", 1)
            assert (undone.topic, undone.partition) == (long.topic, long.partition)
            assert (undone.committable, undone.records, undone.exact) == (long.offset, 1, True)
            appended = long.timestamp / 1000
            assert before - ROUNDING <= undone.seconds + appended <= after + ROUNDING
            assert {each.seconds for each in group.partitions if each is not undone} == {0.0}


def test_the_command_shows_it_and_ends_with_5_above_a_limit(stuck: Place) -> None:
    """`fleet lag`: by topic, by partition, as JSON; a limit that is kept ends with 0."""
    table = stuck.command("lag", "patience")
    assert table.exit_code == 0
    assert re.search(rf"{stuck.start_topic} +1 of 2 +1 ", table.stdout)

    lines = stuck.command("lag", "--partitions").stdout.splitlines()
    assert len([line for line in lines if stuck.start_topic in line]) == 2

    [group] = json.loads(stuck.command("lag", "--json", "--fail-above-seconds", "500").stdout)
    assert (group["workflow"], group["group"], group["records"]) == ("patience", "main", 1)

    above = stuck.command("lag", "--fail-above-seconds", "0.001")
    assert above.exit_code == 5
    assert f"s behind in {stuck.start_topic}[" in above.stderr


def test_the_groups_are_listed_with_their_workers(stuck: Place) -> None:
    """`fleet groups list`: the workflow is not installed, so its steps are not known."""
    [group] = json.loads(stuck.command("groups", "list", "--json").stdout)
    assert group.pop("seconds") > 0
    assert group == {
        "workflow": "patience",
        "group": "main",
        "state": "Stable",
        "members": 1,
        "partitions": 2,
        "records": 1,
        "steps": None,
    }


def samples(page: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


class Exporter:
    """A real `fleet exporter`."""

    def __init__(self, place: Place) -> None:
        self.process = subprocess.Popen(
            [Path(sys.executable).with_name("fleet"), "exporter", "--port", "0"],
            env={**place.variables, "PATH": ""},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        address = self.process.stderr.readline()
        self.port = int(address.strip().removesuffix("/metrics").rpartition(":")[2])

    def page(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def scrape(self) -> Samples:
        """Return labels and values of every sample, by its name."""
        return samples(self.page("/metrics")[1])

    def is_up(self) -> bool:
        return self.scrape()["fleet_exporter_up"] == [({}, 1.0)]

    def terminate(self) -> int:
        self.process.terminate()
        return self.process.wait(20)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def exporters() -> Iterator[Callable[[Place], Exporter]]:
    started: list[Exporter] = []

    def start(place: Place) -> Exporter:
        started.append(Exporter(place))
        return started[-1]

    yield start
    for each in started:
        each.stop()


async def test_the_exporter_shows_every_metric_of_every_partition(
    stuck: Place, exporters: Callable[[Place], Exporter]
) -> None:
    """All families that are documented, with the labels of a worker; SIGTERM ends it with 0."""
    exporter = exporters(stuck)
    [appended_ms] = [
        each.timestamp
        for each in await bare.read(stuck.broker.bootstrap, stuck.start_topic)
        if b"600" in (each.value or b"")
    ]

    before = time.time()
    found = exporter.scrape()
    after = time.time()

    for name, labels in exporter_metrics.LABELS.items():
        [first, *_] = found.get(name) or found[f"{name}_count"]
        assert set(first[0]) == set(labels), name
    topics = {"StartEvent", "runs", "inbox"}
    partitions = {(f"{stuck.settings.prefix}.patience.{name}", n) for name in topics for n in "01"}
    for name in ("fleet_lag_records", "fleet_lag_seconds", "fleet_committable_offset"):
        assert {(each["topic"], each["partition"]) for each, _ in found[name]} == partitions
    [seconds] = [value for _, value in found["fleet_lag_seconds"] if value]
    # It may show what it saw a moment ago.
    earliest = before - SHARED_SECONDS - ROUNDING
    assert earliest <= seconds + appended_ms / 1000 <= after + ROUNDING
    assert [value for _, value in found["fleet_lag_records"] if value] == [1.0]
    group = {"workflow": "patience", "group": "main"}
    assert found["fleet_group_members"] == [(group, 1.0)]
    assert exporter.is_up()
    assert exporter.page("/live")[0] == exporter.page("/ready")[0] == 200
    assert exporter.terminate() == 0


async def test_a_worker_and_the_exporter_say_the_same(
    stuck: Place, exporters: Callable[[Place], Exporter]
) -> None:
    """For every partition, under the same labels; so one query may ask both."""
    assert stuck.worker is not None
    worker, exporter = stuck.worker, exporters(stuck)
    outside, inside = exporter.scrape(), samples(worker.metrics())

    async def is_agreed() -> bool:
        # A worker notes about once a second how far it has read, and commits that a little later.
        nonlocal outside, inside
        outside, inside = exporter.scrape(), samples(worker.metrics())
        names = "fleet_lag_records", "fleet_committable_offset"
        return all(by_partition(outside[name]) == by_partition(inside[name]) for name in names)

    await until(is_agreed)
    seen, known = (
        by_partition(outside["fleet_lag_seconds"]),
        by_partition(inside["fleet_lag_seconds"]),
    )
    assert {key for key, value in seen.items() if value} == {
        key for key, value in known.items() if value
    }
    # One was asked after the other, and the first may have shown what it saw a moment ago.
    assert max(seen.values()) == pytest.approx(max(known.values()), abs=2.0)


def by_partition(found: list[tuple[dict[str, str], float]]) -> dict[object, float]:
    return {tuple(sorted(labels.items())): value for labels, value in found}


async def test_a_killed_workers_lag_goes_on_and_what_it_did_counts_as_done(stuck: Place) -> None:
    """SIGKILL: the same record, still the only one, and it gets older."""
    assert stuck.worker is not None
    earlier = await stuck.look()
    stuck.worker.kill()

    async with LagReader(stuck.settings) as reader:

        async def is_noticed() -> bool:
            [group] = await reader.look()
            assert (group.records, group.exact) == (1, True)
            return group.members == 0

        await until(is_noticed)
        [later] = await reader.look()

    assert later.state == "Empty"
    assert (await stuck.look()).records == later.records == 1
    assert later.seconds > earlier.seconds + 2


async def test_an_idle_group_has_exactly_no_lag(place: Place) -> None:
    """After many transactions, whose markers take offsets: with a worker and without one.

    Also where the group's offsets are far behind what is done, as after a kill or once they have
    expired: the state knows better.
    """
    worker = place.work()
    for _ in range(5):
        await place.run([0.0, 0.01, 0.02, 0.03], await_results=True)

    async def is_idle() -> bool:
        return (await place.look()).records == 0

    await until(is_idle)
    working = await place.look()
    # Whether markers lie behind the offsets now is chance; further down the offsets are set back.
    assert_nothing_undone(working)

    assert worker.terminate() == 0
    idle = await place.look()
    assert_nothing_undone(idle)
    assert (idle.state, idle.members) == ("Empty", 0)

    await rewind(place, idle)
    async with LagReader(place.settings) as reader:
        for _ in range(2):
            [rewound] = await reader.look()
            assert_nothing_undone(rewound)
            assert {each.committable for each in rewound.partitions} == {
                each.committable for each in idle.partitions
            }
        await place.run([0.0], await_results=False)
        [again] = await reader.look()
    assert (again.records, again.exact) == (1, True)


async def rewind(place: Place, group: GroupLag) -> None:
    """Set the group's offsets back to the beginning, which it may be while it is empty."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=place.broker.bootstrap,
        group_id=f"{place.settings.prefix}.patience.main",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        tps = [TopicPartition(each.topic, each.partition) for each in group.partitions]
        consumer.assign(tps)
        await consumer.commit(dict.fromkeys(tps, 0))
    finally:
        await consumer.stop()


async def test_the_exporter_outlives_its_broker_and_shows_no_old_lag(
    tmp_path: Path, exporters: Callable[[Place], Exporter]
) -> None:
    """Up 0 and no lag while the broker is away; all of it again once it is back."""
    folder = tmp_path / "broker"
    broker = await asyncio.to_thread(kafka.start, folder)
    try:
        place = Place(broker, tmp_path)
        await place.run([0.0] * 3, await_results=False)
        exporter = exporters(place)
        assert exporter.is_up()
        assert sum(value for _, value in exporter.scrape()["fleet_lag_records"]) == 3

        kafka.kill(folder)
        await until(lambda: asyncio.to_thread(lambda: not exporter.is_up()))
        gone = exporter.scrape()
        assert not {"fleet_lag_records", "fleet_lag_seconds", "fleet_group_members"} & set(gone)
        assert exporter.page("/live")[0] == 200

        await asyncio.to_thread(kafka.start, folder, port=broker.port)
        await until(lambda: asyncio.to_thread(exporter.is_up))
        assert sum(value for _, value in exporter.scrape()["fleet_lag_records"]) == 3
        assert exporter.terminate() == 0
    finally:
        kafka.stop(folder)
