"""Limits of runs on a broker: a hot run delays no other, places count, threads are bounded."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from limits_flow import LimitsFlow, ThreadFlow
from workers import WorkerProcess

from fleet import connect
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker

pytestmark = pytest.mark.kafka

#: More than a topic's window holds in one partition.
PARTS = 12_000
Start = Callable[..., WorkerProcess]


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    return f"{getattr(request, 'param', 'limits')}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def settings(kafka_broker: Broker, tmp_path: Path, prefix: str) -> Settings:
    return Settings(
        broker=kafka_broker.address, prefix=prefix, data_dir=tmp_path / "caller", partitions=1
    )


@pytest.fixture
def start(kafka_broker: Broker, tmp_path: Path, prefix: str) -> Iterator[Start]:
    """Starts a worker; those that live are stopped at the end."""
    workers: list[WorkerProcess] = []

    def begin(**variables: str) -> WorkerProcess:
        worker = WorkerProcess(
            "limits_flow",
            tmp_path / "worker.log",
            FLEET_BROKER=kafka_broker.address,
            FLEET_PREFIX=prefix,
            FLEET_DATA_DIR=str(tmp_path / "worker"),
            FLEET_PARTITIONS="1",
            **variables,
        )
        workers.append(worker)
        return worker

    yield begin
    for worker in workers:
        if worker.is_alive():
            worker.kill()


@pytest.mark.timeout(180)
async def test_a_run_with_thousands_of_events_delays_no_other(
    start: Start, settings: Settings
) -> None:
    """Also after a kill. At the hot run's own pace the others would wait for minutes."""
    worker = start()
    async with connect(LimitsFlow, settings=settings, timeout=None) as flow:
        hot = flow.run(parts=PARTS)
        # Its events stand before those of all others.
        assert await flow.run(timeout=60) == "cool"
        assert [await flow.run(timeout=30) for _ in range(10)] == ["cool"] * 10
        worker.kill()
        start()
        assert [await flow.run(timeout=60) for _ in range(10)] == ["cool"] * 10
        assert not hot.is_done()
        await hot.cancel_run(timeout=30)
        assert hot.cancelled()


@pytest.mark.timeout(120)
async def test_runs_wait_for_a_place_also_around_a_kill(start: Start, settings: Settings) -> None:
    """No more than two work at once, and the time of those that wait does not count."""
    worker = start(LIMITS_RUNS="2")
    async with connect(LimitsFlow, settings=settings) as flow:
        handlers = [flow.run(seconds=1.0, timeout=8) for _ in range(16)]
        await handlers[0]
        worker.kill()
        start(LIMITS_RUNS="2")
        at_once = await asyncio.gather(*handlers)
    assert set(at_once) <= {1, 2}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("prefix", ["threads"], indirect=True)
async def test_a_worker_waits_for_threads_and_not_for_ever(
    start: Start, settings: Settings
) -> None:
    """One that ends in time counts; one that does not ends with its process."""
    worker = start(FLEET_DRAIN_SECONDS="5")
    async with connect(ThreadFlow, settings=settings, timeout=None) as flow:
        short, endless = flow.run(seconds=1.5), flow.run(seconds=3600)
        for handler in (short, endless):
            async for _ in handler.stream_events():
                break
        began = time.monotonic()
        assert await asyncio.to_thread(worker.terminate) == 0
        assert time.monotonic() - began < 30
        assert await short == "step block"
        assert not endless.is_done()
