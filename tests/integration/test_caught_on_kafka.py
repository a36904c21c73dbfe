"""Failures that a handler takes, on a real broker: what operators see, redrive and replay."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import bare
import pytest
import scrape
from caught_flow import CaughtFlow
from click.testing import CliRunner
from workers import WorkerProcess

from fleet import connect
from fleet.cli import main
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker
from fleet.records.topics import Topics

pytestmark = pytest.mark.kafka

FLOW = "caught_flow:CaughtFlow"


class Place:
    """A prefix of its own, a worker, and the command line."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.settings = Settings(
            broker=broker.address, prefix=f"cg{uuid4().hex[:8]}", data_dir=folder, partitions=1
        )
        self.bootstrap = broker.address.removeprefix("kafka://")
        self.topics = Topics(self.settings.prefix, "caught", "main")
        self.environment = {
            "FLEET_BROKER": broker.address,
            "FLEET_PREFIX": self.settings.prefix,
            "FLEET_DATA_DIR": str(folder),
            "FLEET_PARTITIONS": "1",
        }
        self.fix = folder / "fixed"
        self.worker = WorkerProcess(
            "caught_flow", folder / "worker.log", CAUGHT_FIX=str(self.fix), **self.environment
        )

    def json(self, *arguments: str) -> Any:
        command = ("--broker", self.settings.broker, *arguments, "--json")
        result = CliRunner().invoke(main.main, command, env=self.environment)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    async def run(self, **topics: str) -> dict[str, object]:
        async with connect(CaughtFlow, settings=self.settings, timeout=60) as flow:
            handlers = [flow.run(topic=topic, run_id=name) for name, topic in topics.items()]
            found = await asyncio.gather(*handlers, return_exceptions=True)
        return dict(zip(topics, found, strict=True))

    def steps(self, run_id: str) -> list[str]:
        """Return what the steps of a run came to."""
        shown = self.json("runs", "show", FLOW, run_id)
        return [f"{one['step']} {one['outcome']}" for one in shown["steps"]]

    async def ends(self, prefix: str) -> list[Any]:
        """Return the ends of runs whose ids begin with *prefix*, once there are any."""
        while True:
            records = await bare.read(self.bootstrap, self.topics.runs)
            found = [one for one in records if bare.run_id(one).startswith(prefix)]
            if found:
                return found
            await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def place(kafka_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(kafka_broker, tmp_path_factory.mktemp("caught"))
    yield place
    place.worker.stop()


def test_operators_see_what_was_handled_and_redrive_what_was_not(place: Place) -> None:
    """A handler that fails is a dead letter: its own work is resumed, and replayed."""
    found = asyncio.run(place.run(fine="cats", handled="down once", failed="down twice"))
    assert (found["fine"], found["handled"]) == ("cats", "down once after 1")
    assert repr(found["failed"]) == "LookupError('no other source')"
    page = place.worker.metrics()
    assert scrape.value(page, "fleet_failures_caught_total") == 2
    assert scrape.value(page, "fleet_dead_letters_total") == 1
    assert place.steps("handled") == ["ask raised", "rescue returned", "tell returned"]
    (letter,) = place.json("dead", "list", FLOW)["letters"]
    assert letter["step"] == "rescue"

    place.fix.touch()
    place.json("dead", "redrive", FLOW, "--all", "--reason", "fixed", "--yes")
    assert asyncio.run(place.run(failed="down twice")) == {"failed": "down twice after 1"}
    assert place.steps("failed").count("ask raised") == 1


def test_a_failure_can_be_replayed(place: Place) -> None:
    """As a new run that begins with its handler."""
    asyncio.run(place.run(first="down once"))
    command = ("replay", f"{FLOW}.StepFailedEvent", "--run", "first", "--reason", "again", "--yes")
    begun = place.json(*command, "--context", "empty")
    assert begun["sent"] == 1
    (end,) = asyncio.run(place.ends(f"replay-{begun['replay']}-"))
    assert bare.header(end, "fleet-type") == "completed"
    assert place.steps(bare.run_id(end)) == ["rescue returned", "tell returned"]
