"""How workers end, come back and yield partitions: real processes in one consumer group."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from grown_flow import FirstVersion, SecondVersion
from who_flow import WhoFlow
from workers import WorkerProcess

from fleet import connect
from fleet.client.connection import Connection
from fleet.config.settings import Settings
from fleet.dev import kafka
from fleet.dev.kafka import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]


class Group:
    """A prefix of its own on the broker; its workers end with the test."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker = broker
        self.folder = folder
        self.prefix = f"group{uuid4().hex[:8]}"
        self.workers: list[WorkerProcess] = []

    def worker(self, module: str = "who_flow", **variables: str) -> WorkerProcess:
        started = WorkerProcess(
            module,
            self.folder / f"worker-{len(self.workers)}.log",
            FLEET_BROKER=self.broker.address,
            FLEET_PREFIX=self.prefix,
            FLEET_DATA_DIR=str(self.folder),
            **variables,
        )
        self.workers.append(started)
        return started

    def connect(self, workflow: type = WhoFlow) -> Connection:
        settings = Settings(broker=self.broker.address, prefix=self.prefix, data_dir=self.folder)
        return connect(workflow, settings=settings, timeout=150)

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()


@pytest.fixture
def group(kafka_broker: Broker, tmp_path: Path) -> Iterator[Group]:
    group = Group(kafka_broker, tmp_path)
    yield group
    group.stop()


async def who(flow: Connection, runs: int = 24) -> set[int]:
    """Return which processes do runs; so many reach nearly every partition."""
    return set(await asyncio.gather(*(flow.run(topic="who") for _ in range(runs))))


async def all_at_work(flow: Connection, *workers: WorkerProcess) -> None:
    """Return when exactly these workers do the runs."""
    expected = {worker.process.pid for worker in workers}
    while await who(flow) != expected:  # noqa: ASYNC110 - seen from outside
        await asyncio.sleep(0.2)


async def ended(worker: WorkerProcess) -> int:
    """Return the exit code."""
    return await asyncio.to_thread(worker.process.wait, 120)


async def said(worker: WorkerProcess, found: Callable[[str], bool]) -> None:
    """Return when the worker has written what is looked for."""
    while not found(worker.output()):  # noqa: ASYNC110 - a file tells nobody
        await asyncio.sleep(0.1)


def joined(worker: WorkerProcess) -> int:
    """Return how many assignments a worker was given."""
    return worker.output().count("Executing _on_partitions_assigned")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_worker_that_is_told_to_end_finishes_its_steps(
    group: Group, number: signal.Signals
) -> None:
    """The steps in flight end and are committed, and the exit code is 0."""
    worker = group.worker(WHO_SECONDS="3", WHO_LOGS="1")
    async with group.connect() as flow:
        runs = [flow.run(topic="who") for _ in range(20)]
        await said(worker, lambda output: output.count("answering") == 20)
        worker.process.send_signal(number)

        assert await ended(worker) == 0
        assert set(await asyncio.gather(*runs)) == {worker.process.pid}


async def test_steps_that_outlast_the_drain_do_not_hold_a_worker(group: Group) -> None:
    """After FLEET_DRAIN_SECONDS it leaves with 0; what was in flight runs again elsewhere."""
    first = group.worker(WHO_SECONDS="600", WHO_LOGS="1", FLEET_DRAIN_SECONDS="1")
    async with group.connect() as flow:
        running = flow.run(topic="who")
        await said(first, lambda output: "answering" in output)

        assert first.terminate() == 0

        second = group.worker()
        assert await running == second.process.pid


async def test_nobody_joins_twice_because_of_a_late_commit(group: Group) -> None:
    """A worker is killed and started again under load: the others join once for each, and stay."""
    first, second = group.worker(), group.worker()
    async with group.connect() as flow:
        await all_at_work(flow, first, second)
        loading = asyncio.ensure_future(_load(flow))
        first.kill()
        third = group.worker()
        await all_at_work(flow, second, third)
        before = joined(second)
        await who(flow, 200)
        loading.cancel()

    assert joined(second) == before
    assert "IllegalGeneration" not in second.output()


async def _load(flow: Connection) -> None:
    while True:
        await asyncio.gather(*(flow.run(topic="who") for _ in range(10)), asyncio.sleep(0.1))


async def test_a_static_member_comes_back_to_what_it_had(group: Group) -> None:
    """Nobody else notices its restart, although it comes back with another web port."""
    static = {"FLEET_SESSION_SECONDS": "60"}
    first = group.worker(FLEET_INSTANCE_ID="one", **static)
    second = group.worker(FLEET_INSTANCE_ID="two", **static)
    async with group.connect() as flow:
        await all_at_work(flow, first, second)
        before = joined(second)
        assert first.terminate() == 0
        third = group.worker(FLEET_INSTANCE_ID="one", **static)
        await all_at_work(flow, second, third)

    assert joined(second) == before


async def test_a_static_member_that_reads_a_new_topic_gets_it(group: Group) -> None:
    """Its old assignment does not know the topic, so the group is joined again."""
    static = {"FLEET_SESSION_SECONDS": "60"}
    for name in ("one", "two"):
        group.worker("grown_flow", FLEET_INSTANCE_ID=name, **static)
    async with group.connect(FirstVersion) as flow:
        assert await who(flow) == {1}
    for number, name in enumerate(("one", "two")):
        assert group.workers[number].terminate() == 0
        group.worker("grown_flow", FLEET_INSTANCE_ID=name, GROWN="1", **static)

    async with group.connect(SecondVersion) as flow:
        assert await who(flow) == {2}


async def test_a_static_member_that_reads_a_topic_less_comes_back(group: Group) -> None:
    """Its old assignment has a topic that it does not read, which aiokafka takes for impossible."""
    static = {"FLEET_SESSION_SECONDS": "60"}
    for name in ("one", "two"):
        group.worker("grown_flow", FLEET_INSTANCE_ID=name, GROWN="1", **static)
    async with group.connect(SecondVersion) as flow:
        assert await who(flow) == {2}
    for number, name in enumerate(("one", "two")):
        assert group.workers[number].terminate() == 0
        group.worker("grown_flow", FLEET_INSTANCE_ID=name, **static)

    async with group.connect(FirstVersion) as flow:
        assert await who(flow) == {1}


async def test_two_workers_with_one_instance_id_do_not_fight(group: Group) -> None:
    """The one that joined first ends, with 1 and a sentence; the other one goes on."""
    older = group.worker(FLEET_INSTANCE_ID="same")
    async with group.connect() as flow:
        await all_at_work(flow, older)
        newer = group.worker(FLEET_INSTANCE_ID="same")

        assert await ended(older) == 1
        await all_at_work(flow, newer)

    assert "Error: another process (/127.0.0.1) has joined the group" in older.output()
    assert newer.is_alive()


@pytest.mark.parametrize("instance_id", ["", "frozen"], ids=["dynamic", "static"])
async def test_a_worker_that_was_frozen_joins_again(group: Group, instance_id: str) -> None:
    """Evicted for its silence, it is a member again when it wakes, and works."""
    frozen = group.worker(FLEET_INSTANCE_ID=instance_id)
    other = group.worker()
    async with group.connect() as flow:
        await all_at_work(flow, frozen, other)
        frozen.freeze()
        await all_at_work(flow, other)
        frozen.wake()

        await all_at_work(flow, frozen, other)


async def test_a_consumer_that_dies_quietly_ends_its_worker(group: Group) -> None:
    """The exit code is 1, the last lines say why, and another worker does the runs."""
    first = group.worker("quiet_flow", FLEET_STALL_SECONDS="6")
    async with group.connect() as flow:
        await all_at_work(flow, first)
        first.process.send_signal(signal.SIGHUP)
        await said(first, lambda output: "asks no more" in output)
        running = flow.run(topic="who")

        assert await ended(first) == 1

        second = group.worker()
        assert await running == second.process.pid
    told, address = first.output().splitlines()[-2:]
    assert told.startswith("Error: no record of ")
    assert "although the broker answers; this worker ends" in told
    assert address == "See docs/reference.md#stalled"


async def test_a_session_that_the_broker_refuses_is_said(group: Group) -> None:
    """A worker that the group never takes ends with 1 and names the setting."""
    worker = group.worker(FLEET_SESSION_SECONDS="1")

    assert await ended(worker) == 1

    assert "FLEET_SESSION_SECONDS must be within" in worker.output().splitlines()[-2]


async def test_an_outage_of_the_broker_ends_no_worker(tmp_path: Path) -> None:
    """A broker that is silent for longer than FLEET_STALL_SECONDS finds its worker at work."""
    with kafka.embedded() as broker:
        group = Group(broker, tmp_path)
        worker = group.worker(FLEET_STALL_SECONDS="12")
        try:
            async with group.connect() as flow:
                await all_at_work(flow, worker)
                os.kill(broker.pid, signal.SIGSTOP)
                try:
                    await asyncio.sleep(20)
                finally:
                    os.kill(broker.pid, signal.SIGCONT)

                await all_at_work(flow, worker)
        finally:
            group.stop()


async def test_a_worker_can_be_ended_without_a_broker(tmp_path: Path) -> None:
    """A broker that is gone does not hold it; that the last commit failed is said, with 1."""
    with kafka.embedded() as broker:
        group = Group(broker, tmp_path)
        worker = group.worker(FLEET_DRAIN_SECONDS="1")
        try:
            async with group.connect() as flow:
                await all_at_work(flow, worker)
                os.kill(broker.pid, signal.SIGSTOP)
                worker.process.send_signal(signal.SIGTERM)
                code = await ended(worker)
                os.kill(broker.pid, signal.SIGCONT)
        finally:
            group.stop()

    assert code == 1
    assert worker.output().splitlines()[-1] == (
        "Error: this worker did not stop within 31 seconds; exiting as it is"
    )
