"""What a worker tells of itself, against what is known to be true."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import bare
import pytest
import scrape
from poison_flow import PoisonFlow
from workers import WorkerProcess

from fleet import connect
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker
from fleet.workflow.errors import WorkflowRuntimeError

pytestmark = pytest.mark.kafka

REFERENCE = (Path(__file__).parents[2] / "docs" / "reference.md").read_text()
EXPORTERS = {"fleet_group_members", "fleet_exporter_up", "fleet_exporter_scrape_seconds"}
#: How far a lag in seconds may be from the truth.
CLOSE_SECONDS = 2.0


class Watched:
    """Workers of `poison_flow` under a prefix of their own."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker = broker
        self.folder = folder
        self.settings = Settings(
            broker=broker.address, prefix=f"seen{uuid4().hex[:8]}", data_dir=folder, partitions=2
        )
        self.workers: list[WorkerProcess] = []

    def worker(self, **variables: str) -> WorkerProcess:
        started = WorkerProcess(
            "poison_flow",
            self.folder / f"worker-{len(self.workers)}.log",
            FLEET_BROKER=self.broker.address,
            FLEET_PREFIX=self.settings.prefix,
            FLEET_DATA_DIR=str(self.folder),
            FLEET_PARTITIONS="2",
            POISON_FIX=str(self.folder / "fix"),
            POISON_SECONDS="600",
            **variables,
        )
        self.workers.append(started)
        return started

    async def run(self, topics: list[str]) -> list[object]:
        async with connect(PoisonFlow, settings=self.settings, timeout=60) as flow:
            handlers = [flow.run(topic=topic) for topic in topics]
            return list(await asyncio.gather(*handlers, return_exceptions=True))

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()


@pytest.fixture
def watched(kafka_broker: Broker, tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(kafka_broker, tmp_path)
    yield watched
    watched.stop()


async def until(holds: Callable[[], bool], seconds: float = 40) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - a page has no event for it
            await asyncio.sleep(0.1)


async def eventually(found: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(40):
        while not await found():  # noqa: ASYNC110 - a topic has no event for it
            await asyncio.sleep(0.1)


def is_ready(worker: WorkerProcess) -> bool:
    return scrape.status(worker.port, "/ready")[0] == 200


async def test_a_worker_under_load_exports_all_that_the_docs_list(watched: Watched) -> None:
    """Each metric is there, moved by as much as happened, and none that the docs do not know."""
    worker = watched.worker()
    results = await watched.run(["fine"] * 20 + ["poisoned"] * 3)
    assert sum(isinstance(each, WorkflowRuntimeError | LookupError) for each in results) == 3
    # The worker reads the ends as the callers do, in its own time.
    await until(lambda: scrape.value(worker.metrics(), "fleet_runs_total") == 23)
    await until(lambda: scrape.value(worker.metrics(), "fleet_lag_records") == 0)

    page = worker.metrics()
    listed = set(re.findall(r"^\| `(fleet_\w+)`", REFERENCE, re.MULTILINE)) - EXPORTERS
    assert set(scrape.families(page)) == listed
    # Nothing was being loaded by then.
    empty = [name for name, each in scrape.families(page).items() if not each.samples]
    assert empty == ["fleet_task_load_records_remaining"]

    def counted(name: str, **labels: str) -> float:
        return scrape.value(page, name, **labels)

    assert counted("fleet_runs_started_total") == 23
    assert counted("fleet_runs_total", outcome="completed") == 20
    assert counted("fleet_runs_total", outcome="failed") == 3
    assert counted("fleet_run_duration_seconds_count") == 23
    assert counted("fleet_step_attempts_total", step="judge", reason="failed") == 3
    assert counted("fleet_step_queue_wait_seconds_count", step="tell") == 23
    assert counted("fleet_step_duration_seconds_count", outcome="returned") == 43
    assert counted("fleet_dead_letters_total", reason="failed") == 3
    assert counted("fleet_commit_records_sum") > 23 * 4
    assert counted("fleet_commit_bytes_sum") > 0
    assert counted("fleet_tasks", state="running") == 2
    assert counted("fleet_slots") == 2_000
    assert counted("fleet_task_load_seconds_count") == 2
    assert counted("fleet_rebalances_total") >= 1
    assert counted("fleet_state_bytes") > 0
    assert counted("fleet_build_info") == 1
    assert counted("fleet_lag_records") == counted("fleet_lag_seconds") == 0


async def test_lag_is_what_a_bare_reader_sees(watched: Watched) -> None:
    """Records that are not done, and the age of the oldest by its append in the broker."""
    worker = watched.worker()
    prefix = watched.settings.prefix
    async with connect(PoisonFlow, settings=watched.settings, timeout=None) as flow:
        await asyncio.gather(*(flow.run(topic="fine") for _ in range(10)))
        slow = [flow.run(topic="slow", run_id=f"slow-{number}") for number in range(5)]
        topic = f"{prefix}.poison.Told"

        async def all_told() -> bool:
            return len(await bare.read(watched.broker.bootstrap, topic)) == 15

        await eventually(all_told)
        told = await bare.read(watched.broker.bootstrap, topic)
        undone = [each for each in told if bare.run_id(each).startswith("slow")]
        await until(lambda: scrape.value(worker.metrics(), "fleet_steps_in_flight") == 5)
        # Long enough that a number which does not grow would be noticed.
        await asyncio.sleep(CLOSE_SECONDS + 1)
        page, now = worker.metrics(), time.time()

        for partition in ("0", "1"):
            there = [each.timestamp for each in undone if str(each.partition) == partition]
            labels = {"topic": topic, "partition": partition}
            assert scrape.value(page, "fleet_lag_records", **labels) == len(there)
            truth = now - min(there) / 1000 if there else 0
            assert abs(scrape.value(page, "fleet_lag_seconds", **labels) - truth) < CLOSE_SECONDS
        assert scrape.value(page, "fleet_lag_records") == 5
        for handler in slow:
            await handler.cancel_run()
        await asyncio.gather(*slow, return_exceptions=True)
    await until(lambda: scrape.value(worker.metrics(), "fleet_lag_records") == 0)
    assert scrape.value(worker.metrics(), "fleet_lag_seconds") == 0


async def test_a_worker_is_ready_when_it_serves_what_it_was_assigned(watched: Watched) -> None:
    """Also one that got no partition; one that stops is ready no more, and answers still."""
    workers = [watched.worker(FLEET_DRAIN_SECONDS="30") for _ in range(3)]
    await until(lambda: all(is_ready(worker) for worker in workers))
    tasks = [scrape.status(worker.port, "/ready")[1]["tasks"] for worker in workers]
    running = [each for group in tasks for each in group.popitem()[1]["running"]]
    assert sorted(running) == [0, 1]
    assert [scrape.status(worker.port, "/live")[0] for worker in workers] == [200] * 3


async def test_a_worker_that_waits_for_its_steps_is_not_ready(watched: Watched) -> None:
    """It says why, and that it lives."""
    worker = watched.worker(FLEET_DRAIN_SECONDS="30")
    async with connect(PoisonFlow, settings=watched.settings, timeout=None) as flow:
        handler = flow.run(topic="slow")
        await until(lambda: is_ready(worker))
        await until(lambda: scrape.value(worker.metrics(), "fleet_steps_in_flight") == 1)
        worker.process.terminate()
        await until(lambda: not is_ready(worker))
        code, page = scrape.status(worker.port, "/ready")
        assert (code, page["reason"]) == (503, "the worker is stopping")
        assert scrape.status(worker.port, "/live")[0] == 200
        await handler.cancel_run()
        await asyncio.gather(handler, return_exceptions=True)
