"""A worker that starts again, whatever the last record of a partition of `runs` is."""

import asyncio
import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from native import eventually
from timer_flow import TimerFlow
from workers import WorkerProcess

from fleet import connect
from fleet.api.step_group import on_kafka
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker
from fleet.engine.loading.guarded_store import StoreFailed
from fleet.engine.step_group import Engine
from fleet.records.envelope import Envelope
from fleet.records.lifecycle import (
    Cancelled,
    Completed,
    Failed,
    Failure,
    Known,
    Lifecycle,
    Resumed,
    Resumption,
    Started,
    TimedOut,
)
from fleet.records.partitions import partition_of
from fleet.records.state import META
from fleet.records.topics import Topics

pytestmark = pytest.mark.kafka

LAST: list[Lifecycle | None] = [
    Started(start_event_id="start"),
    Known(start_event_id="start"),
    Completed(step="judge", event_type="Judgement", event="{}"),
    Failed(step="judge", event_id="e", failure=Failure(module="m", type="T", message="no")),
    Cancelled(),
    TimedOut(timeout_seconds=1.0),
    Resumed(),
    Resumption(request_id="request"),
    # What this version cannot read.
    None,
]
PARTITIONS = len(LAST)
READY_SECONDS = 20.0


class Crew:
    """A prefix of its own, with a partition for each kind of record, and its worker."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker, self.folder = broker, folder
        self.settings = Settings(
            broker=broker.address, prefix=f"load{uuid4().hex[:8]}", partitions=PARTITIONS
        )
        self.workers: list[WorkerProcess] = []

    def worker(self) -> WorkerProcess:
        started = WorkerProcess(
            "timer_flow",
            self.folder / "worker.log",
            FLEET_BROKER=self.broker.address,
            FLEET_PREFIX=self.settings.prefix,
            FLEET_PARTITIONS=str(PARTITIONS),
            FLEET_DATA_DIR=str(self.folder),
        )
        self.workers.append(started)
        return started

    async def run_in_each_partition(self, when: str) -> None:
        """Start one run in each partition, and hear all results."""
        async with connect(TimerFlow, settings=self.settings, timeout=60) as flow:
            ids = (_id_in(partition, when) for partition in range(PARTITIONS))
            results = await asyncio.gather(*(flow.run(topic=each, run_id=each) for each in ids))
        assert len(results) == PARTITIONS

    async def write_last(self) -> dict[TopicPartition, int]:
        """Append the last record of each partition of `runs`: no transaction, so no marker.

        Return the offset after each of them.
        """
        written = {}
        producer = AIOKafkaProducer(bootstrap_servers=self.broker.bootstrap)
        await producer.start()
        try:
            for partition, last in enumerate(LAST):
                run_id = _id_in(partition, "last")
                kind = "foreign" if last is None else last.kind
                sent = await producer.send_and_wait(
                    f"{self.settings.prefix}.timer.runs",
                    key=run_id.encode(),
                    value=b"\xff" if last is None else last.encode(),
                    headers=Envelope(run_id=run_id, event_id="last", type=kind).headers(),
                    partition=partition,
                )
                written[TopicPartition(sent.topic, partition)] = sent.offset + 1
        finally:
            await producer.stop()
        return written

    async def committed(self) -> dict[TopicPartition, int]:
        """Return the offsets that the group has committed."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        await admin.start()
        try:
            group = f"{self.settings.prefix}.timer.main"
            found = await admin.list_consumer_group_offsets(group)
            return {tp: each.offset for tp, each in found.items()}
        finally:
            await admin.close()


def _id_in(partition: int, prefix: str) -> str:
    ids = (f"{prefix}-{number}" for number in range(10_000))
    return next(each for each in ids if partition_of(each, PARTITIONS) == partition)


def _ready(worker: WorkerProcess) -> Mapping[str, Any]:
    try:
        with urllib.request.urlopen(f"http://localhost:{worker.port}/ready", timeout=5) as answer:
            found: Mapping[str, Any] = json.load(answer)
    except urllib.error.HTTPError as refused:
        found = json.load(refused)
    except OSError as failure:
        found = {"ready": False, "reason": repr(failure)}
    return found


async def _ready_within(worker: WorkerProcess, seconds: float) -> None:
    found: Mapping[str, Any] = {}

    async def is_ready() -> bool:
        nonlocal found
        found = await asyncio.to_thread(_ready, worker)
        return bool(found["ready"])

    try:
        await eventually(is_ready, seconds)
    except TimeoutError:
        pytest.fail(f"not ready within {seconds} s: {found}\n{worker.output()[-3000:]}")


@pytest.fixture
def crew(kafka_broker: Broker, tmp_path: Path) -> Iterator[Crew]:
    crew = Crew(kafka_broker, tmp_path)
    yield crew
    for worker in crew.workers:
        worker.stop()


@pytest.mark.timeout(180)
async def test_a_worker_starts_again_whatever_the_last_record_of_runs_is(crew: Crew) -> None:
    """Each kind of record is the last of a partition; the restarted worker answers in all."""
    worker = crew.worker()
    await crew.run_in_each_partition("before")
    written = await crew.write_last()

    async def all_read() -> bool:
        committed = await crew.committed()
        return all(committed.get(tp, 0) >= offset for tp, offset in written.items())

    await eventually(all_read)
    assert worker.terminate() == 0

    again = crew.worker()
    await _ready_within(again, READY_SECONDS)
    await crew.run_in_each_partition("after")
    assert again.terminate() == 0
    assert "never retrieved" not in again.output()


def _corrupt(folder: Path) -> int:
    """Make every local state below *folder* unreadable; return how many there were."""
    found = list(folder.rglob("CURRENT"))
    for each in found:
        each.write_bytes(b"garbage")
    return len(found)


@pytest.mark.timeout(180)
async def test_a_local_state_that_is_corrupt_is_loaded_again(crew: Crew) -> None:
    """It is removed with a line in the log, and made again from the changelog."""
    worker = crew.worker()
    await crew.run_in_each_partition("before")
    worker.kill()
    assert _corrupt(crew.folder) == PARTITIONS

    again = crew.worker()
    await _ready_within(again, 2 * READY_SECONDS)
    await crew.run_in_each_partition("before")
    await crew.run_in_each_partition("after")

    assert again.output().count("state_discarded") == PARTITIONS
    assert again.terminate() == 0


@contextlib.asynccontextmanager
async def _engine(crew: Crew) -> AsyncIterator[Engine]:
    settings = crew.settings.model_copy(update={"partitions": 2})
    engine = on_kafka(TimerFlow(), Topics(settings.prefix, "timer", "main"), settings)
    await engine.open(crew.folder)
    try:
        yield engine
    finally:
        await engine.close()


async def _loaded(engine: Engine) -> bool:
    return bool(engine.tasks) and engine.ready


@pytest.mark.timeout(120)
async def test_a_partition_that_comes_back_while_it_is_loaded_is_loaded(crew: Crew) -> None:
    """Rebalances come faster than loads, as when many workers start one after the other."""
    async with _engine(crew) as engine:
        for partitions in ({0}, {1}, {0, 1}, set(), {0}, {0, 1}):
            changing = asyncio.create_task(engine.assign(partitions))
            await asyncio.sleep(0.005)
            engine.revoked()
            await changing
        await engine.assign({0, 1})

        await eventually(lambda: _loaded(engine), seconds=30)
        assert sorted(engine.tasks) == [0, 1]


@pytest.mark.timeout(120)
async def test_a_task_whose_state_breaks_is_lost_and_opened_again(crew: Crew) -> None:
    """The other partition's task goes on; the broken one is loaded from its changelog."""
    async with _engine(crew) as engine:
        await engine.assign({0, 1})
        await eventually(lambda: _loaded(engine), seconds=30)
        broken, other = engine.tasks[0], engine.tasks[1]
        store: Any = broken.ledger.store
        store._store.close()

        with pytest.raises(StoreFailed):
            broken.ledger.store.get(b"key")
        assert engine.lost == [0]
        await engine.reopen(0)
        await eventually(lambda: _loaded(engine), seconds=30)

        assert engine.tasks[1] is other
        assert engine.tasks[0] is not broken
        assert engine.tasks[0].ledger.get(META) is not None
