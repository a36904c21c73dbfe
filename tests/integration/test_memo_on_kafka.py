"""Recorded calls on a real broker: nothing is paid twice around a kill, or only on request."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from memo_flow import Approved, Asked, MemoFlow, noted
from workers import SUPPORT, WorkerProcess

from fleet import connect
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker
from fleet.dev.llm import ScriptedProcess, start_process

pytestmark = pytest.mark.kafka


class Place:
    """A prefix of its own, its model, its workers, and the file of their calls."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.folder = folder
        self.llm: ScriptedProcess = start_process(log=folder / "llm.log", latency_seconds=0)
        self.workers: list[WorkerProcess] = []
        self.settings = Settings(
            broker=broker.address, prefix=f"memo{uuid4().hex[:8]}", partitions=2, session_seconds=6
        )
        self.environment = {
            "FLEET_BROKER": broker.address,
            "FLEET_PREFIX": self.settings.prefix,
            "FLEET_PARTITIONS": "2",
            "FLEET_SESSION_SECONDS": "6",
            "OPENAI_BASE_URL": self.llm.base_url,
            "MEMO_CALLS": str(folder / "calls"),
            "MEMO_GATE": str(folder / "gate"),
        }

    def hire(self) -> WorkerProcess:
        """Start a worker without any local state."""
        name = f"worker-{len(self.workers)}"
        data = {"FLEET_DATA_DIR": str(self.folder / name)}
        log = self.folder / f"{name}.log"
        self.workers.append(WorkerProcess("memo_flow", log, **self.environment, **data))
        return self.workers[-1]

    def open(self, *gates: str) -> None:
        """Let steps go on."""
        for gate in gates:
            (self.folder / f"gate {gate}").touch()

    async def until(self, run_id: str, line: str) -> None:
        """Return when a run has written *line*; the test's own timeout ends the waiting."""
        while line not in noted(run_id):  # noqa: ASYNC110 - it is no event
            await asyncio.sleep(0.1)

    def asked(self) -> int:
        """Return how many requests the model has got."""
        requests: int = self.llm.stats()["requests"]
        return requests

    def redrive_afresh(self, run_id: str) -> None:
        """Resume a run; return when it has its result."""
        fleet = str(Path(sys.executable).with_name("fleet"))
        redrive = ("dead", "redrive", "memo_flow:MemoFlow", "--run", run_id, "--fresh", "--wait")
        environment = {**os.environ, **self.environment, "PYTHONPATH": str(SUPPORT)}
        command = [fleet, *redrive, "--reason", "a wrong price", "--yes"]
        subprocess.run(command, env=environment, check=True, capture_output=True)

    def close(self) -> None:
        for worker in self.workers:
            worker.stop()
        self.llm.stop()


@pytest.fixture
def place(kafka_broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    made = Place(kafka_broker, tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    yield made
    made.close()


@pytest.mark.timeout(120)
async def test_a_kill_pays_nothing_twice(place: Place) -> None:
    """The only worker dies, and its local state with it: in a last call, and while a person thinks.

    What was recorded is not called for again, and the reconciler says what became of the last call.
    A run that fails then is redriven afresh: that pays its calls once more.
    """
    worker = place.hire()
    async with connect(MemoFlow, settings=place.settings, timeout=100) as flow:
        place.open("compare")
        asking = flow.run(run_id="asking", asks=True)
        ordering = flow.run(run_id="ordering", ordered=True)
        question = await anext(asking.stream_events())
        assert isinstance(question, Asked)
        await place.until("ordering", "at order")
        worker.kill()
        shutil.rmtree(place.folder / "worker-0")
        place.hire()
        assert await ordering == "199 shared 7 True"
        paid = ["ask", "shared", "at compare", "order", "at order"]
        assert noted("ordering") == [*paid, "at compare", "look"]
        await asking.send_event(Approved(by="Ann"))
        assert await asking == "approved by Ann"
        assert noted("asking") == ["ask", "shared", "at compare", "at compare"]
        assert place.asked() == 2 * 2

        place.open("order")
        with pytest.raises(ValueError, match="is no valid answer"):
            await flow.run(run_id="refusing", refuses=3)
        assert noted("refusing") == ["ask", "shared", *["at compare"] * 3]
        assert place.asked() == 4 + 1 + 3
        await asyncio.to_thread(place.redrive_afresh, "refusing")
        assert noted("refusing")[5:] == ["ask", "at compare", "order", "at order"]
        assert place.asked() == 8 + 2
