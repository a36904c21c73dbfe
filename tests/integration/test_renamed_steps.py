"""Releases that rename and remove a step while runs wait in it, on a real broker."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from renamed_flow import Approved, OldFlow
from workers import SUPPORT, WorkerProcess

from fleet import connect
from fleet.cli import main
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker
from fleet.workflow.errors import UnknownStep

pytestmark = pytest.mark.kafka


class Place:
    """A prefix of its own, the worker of one release, and the command line."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.settings = Settings(
            broker=broker.address, prefix=f"r{uuid4().hex[:8]}", data_dir=folder, partitions=2
        )
        self.calls = folder / "calls"
        self._folder = folder
        self._worker: WorkerProcess | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            "FLEET_BROKER": self.settings.broker,
            "FLEET_PREFIX": self.settings.prefix,
            "FLEET_DATA_DIR": str(self._folder),
            "FLEET_PARTITIONS": "2",
            "RENAMED_CALLS": str(self.calls),
        }

    def deploy(self, release: str, **variables: str) -> None:
        """Replace the worker."""
        if self._worker is not None:
            assert self._worker.terminate() == 0
        log = self._folder / f"{release}.log"
        environment = {**self.environment, "RENAMED_RELEASE": release, **variables}
        self._worker = WorkerProcess("renamed_flow", log, **environment)

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()

    def __call__(self, *arguments: str) -> Result:
        command = ("--broker", self.settings.broker, *arguments)
        return CliRunner().invoke(main.main, command, env=self.environment)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command that takes signals, and so a process of its own."""
        fleet = str(Path(sys.executable).with_name("fleet"))
        environment = {**os.environ, **self.environment, "PYTHONPATH": str(SUPPORT)}
        return subprocess.run(
            [fleet, *arguments], env=environment, capture_output=True, text=True, check=False
        )

    def paid(self) -> int:
        """Return how often the steps have made their call."""
        return len(self.calls.read_text().split()) if self.calls.exists() else 0

    def against(self, flow: str) -> tuple[int, dict[str, tuple[str, int]]]:
        """Return how the check of a release ends, and the fate and number of work by step."""
        result = self("check", f"renamed_flow:{flow}", "--against", "renamed", "--json")
        (found,) = json.loads(result.stdout)
        lines = {line["step"]: (line["fate"], line["count"]) for line in found["suspended"]}
        return result.exit_code, lines


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.1)


@pytest.fixture
def place(kafka_broker: Broker, tmp_path: Path) -> Iterator[Place]:
    made = Place(kafka_broker, tmp_path)
    yield made
    made.stop()


@pytest.mark.timeout(180)
async def test_work_of_a_step_that_is_renamed_or_removed_is_not_lost(place: Place) -> None:
    """Listed beforehand; followed by its new name; else a dead letter that can be redriven."""
    place.deploy("old")
    async with connect(OldFlow, settings=place.settings, timeout=None) as flow:
        kept, removed = flow.run(run_id="kept"), flow.run(run_id="removed")
        await asyncio.to_thread(
            until,
            lambda: place.paid() == 2 and place.against("OldFlow")[1] == {"ask": ("known", 2)},
        )
        assert await asyncio.to_thread(place.against, "NewFlow") == (0, {"ask": ("follows", 2)})
        assert await asyncio.to_thread(place.against, "WithoutFlow") == (
            2,
            {"ask": ("unknown_step", 2)},
        )

        await asyncio.to_thread(place.deploy, "without", FLEET_UNKNOWN_STEP_HOURS="0")
        await removed.send_event(Approved(by="Bob"))
        with pytest.raises(UnknownStep, match="has a step ask that takes StartEvent"):
            await removed

        await asyncio.to_thread(place.deploy, "new")
        await kept.send_event(Approved(by="Ann"))
        assert await kept == "a draft, approved by Ann"
        redrive = ("dead", "redrive", "renamed_flow:NewFlow", "--cause", "unknown_step", "--wait")
        done = await asyncio.to_thread(place.run, *redrive, "--reason", "step is back", "--yes")
        assert done.returncode == 0, done.stderr
        assert await flow.run(run_id="removed") == "a draft, approved by Bob"
    assert place.paid() == 2


def test_what_it_compares_with_has_to_be_there(place: Place) -> None:
    missing = place("check", "renamed_flow:NewFlow", "--against", "renamed.other")
    assert missing.exit_code == 2
    assert "renamed.other.state" in missing.stderr
    several = place("check", "renamed_flow", "--against", "renamed")
    assert several.exit_code == 2
    assert "name one, as module:Class" in several.stderr
