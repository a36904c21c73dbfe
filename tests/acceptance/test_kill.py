"""
Killing a worker in the middle of paid work.

The checker reads topics with a bare client and asks the scripted model what was paid for.
"""

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import bare
import pytest
from workers import WorkerProcess

from fleet import connect
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker
from fleet.dev.llm import ScriptedProcess, start_process
from fleet.joke import JokeFlow
from fleet.runtime.handler import WorkflowHandler

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance]

RUNS = 500


@pytest.fixture
def llm(tmp_path: Path) -> Iterator[ScriptedProcess]:
    process = start_process(log=tmp_path / "llm.log", latency_seconds=2.0)
    yield process
    process.stop()


class Fleet:
    """Workers of the joke flow under a prefix of its own."""

    def __init__(self, broker: Broker, llm: ScriptedProcess, folder: Path) -> None:
        self.prefix = f"kill{uuid4().hex[:8]}"
        self.folder = folder
        self.settings = Settings(broker=broker.address, prefix=self.prefix, data_dir=folder)
        self._variables = {
            "FLEET_BROKER": broker.address,
            "FLEET_PREFIX": self.prefix,
            "FLEET_DATA_DIR": str(folder),
            "OPENAI_BASE_URL": llm.base_url,
            "OPENAI_API_KEY": "scripted",
        }
        self.workers: list[WorkerProcess] = []

    def worker(self) -> WorkerProcess:
        log = self.folder / f"worker-{len(self.workers)}.log"
        self.workers.append(WorkerProcess("fleet.joke", log, **self._variables))
        return self.workers[-1]


@pytest.fixture
def fleet(kafka_broker: Broker, llm: ScriptedProcess, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(kafka_broker, llm, tmp_path)
    yield fleet
    for worker in fleet.workers:
        worker.stop()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("keep_state", [True, False], ids=["state kept", "state deleted"])
async def test_a_killed_worker_loses_and_repeats_nothing_that_was_committed(
    fleet: Fleet,
    llm: ScriptedProcess,
    kafka_broker: Broker,
    keep_state: bool,
    record_property: Callable[[str, object], None],
) -> None:
    """500 runs, kill -9 in the middle: right results, no duplicates, only flights paid twice."""
    worker = fleet.worker()
    async with connect(JokeFlow, settings=fleet.settings, timeout=150) as flow:
        handlers = [flow.run(topic=f"number {n} of the bunch") for n in range(RUNS)]
        await _until_in_the_middle(handlers)
        worker.kill()
        in_flight = await _begun_and_not_committed(llm, kafka_broker, fleet.prefix)
        if not keep_state:
            shutil.rmtree(fleet.folder / "workers")
        fleet.worker()
        results = await asyncio.gather(*handlers)

    for number, result in enumerate(results):
        assert f"number {number} of the bunch" in result
    await _check_topics(kafka_broker.bootstrap, fleet.prefix, handlers)
    paid_twice = sum(each["started"] - 1 for each in llm.stats()["repeated"])
    assert in_flight >= 20
    assert paid_twice <= in_flight
    record_property("in_flight_at_the_kill", in_flight)
    record_property("paid_twice", paid_twice)


async def _until_in_the_middle(handlers: list[WorkflowHandler]) -> None:
    """Wait until some runs have ended and most have not."""
    ended = asyncio.Semaphore(0)
    for handler in handlers:
        handler.add_done_callback(lambda _: ended.release())
    for _ in range(RUNS // 10):
        await ended.acquire()


async def _begun_and_not_committed(llm: ScriptedProcess, broker: Broker, prefix: str) -> int:
    """Return the steps in flight at the kill: paid calls whose step no commit has.

    More than the model has still to answer: an answer that the worker had not committed when it
    died was in flight, too.
    """
    begun = (await asyncio.to_thread(llm.stats))["requests"]
    committed = await bare.read(broker.bootstrap, f"{prefix}.joke.history")
    return int(begun) - len(committed)


async def _check_topics(bootstrap: str, prefix: str, handlers: list[WorkflowHandler]) -> None:
    run_ids = {handler.run_id for handler in handlers}
    jokes = await bare.read(bootstrap, f"{prefix}.joke.JokeEvent")
    lifecycle = await bare.read(bootstrap, f"{prefix}.joke.runs")
    history = await bare.read(bootstrap, f"{prefix}.joke.history")

    assert Counter(bare.run_id(record) for record in jokes) == dict.fromkeys(run_ids, 1)
    kinds = Counter(
        (bare.run_id(record), bare.header(record, "fleet-type")) for record in lifecycle
    )
    expected = {(run_id, kind): 1 for run_id in run_ids for kind in ("started", "completed")}
    assert kinds == expected
    assert Counter(bare.run_id(record) for record in history) == dict.fromkeys(run_ids, 2)
