"""Workflows inside of workflows on a real broker, around kills of the workers of both."""

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import bare
import faust
import pytest
from native import eventually
from nested_child_flow import ChildFlow, Doubled
from nested_parent_flow import ParentFlow
from workers import WorkerProcess

from fleet import StartEvent, connect
from fleet.cli.views import run as run_shown
from fleet.client.connection import Connection
from fleet.config.settings import Settings
from fleet.control.runs import topic, tree
from fleet.control.source import Source
from fleet.dev.kafka import Broker
from fleet.records import envelope as envelopes
from fleet.records.lifecycle import SUSPENDED, StepRecord
from fleet.records.nested.caller import ENDED

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(200)]

RUNS = 20
CHILD, PARENT = "nested_child_flow", "nested_parent_flow"


class Place:
    """A prefix of its own, and workers of both workflows."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.bootstrap = broker.bootstrap
        self._folder = folder
        self._workers: list[WorkerProcess] = []
        self.settings = Settings(
            broker=broker.address,
            prefix=f"nested{uuid.uuid4().hex[:8]}",
            data_dir=folder,
            partitions=2,
        )

    def hire(self, module: str) -> WorkerProcess:
        """Start a worker with a state of its own: it has to read the changelog."""
        name = f"worker-{len(self._workers)}"
        worker = WorkerProcess(
            module,
            self._folder / f"{name}.log",
            FLEET_BROKER=self.settings.broker,
            FLEET_PREFIX=self.settings.prefix,
            FLEET_PARTITIONS="2",
            FLEET_DATA_DIR=str(self._folder / name),
            FLEET_SESSION_SECONDS="6",
        )
        self._workers.append(worker)
        return worker

    def close(self) -> None:
        for worker in self._workers:
            worker.stop()

    async def read(self, topic: str) -> list[envelopes.Envelope]:
        """Return the envelopes of a topic."""
        records = await bare.read(self.bootstrap, f"{self.settings.prefix}.{topic}")
        return [envelopes.parse(record.headers) for record in records]

    async def suspended(self, workflow: str, step: str) -> int:
        """Count the attempts of a step that were suspended."""
        records = await bare.read(self.bootstrap, f"{self.settings.prefix}.{workflow}.history")
        told = [StepRecord.decode(record.value or b"") for record in records]
        return sum((one.step, one.outcome) == (step, SUSPENDED) for one in told)


@pytest.fixture
def place(kafka_broker: Broker, tmp_path: Path) -> Iterator[Place]:
    place = Place(kafka_broker, tmp_path)
    yield place
    place.close()


async def test_kills_of_both_workers_run_each_child_once(place: Place) -> None:
    """They are killed while the children sleep and their parents wait."""
    parent, child = place.hire(PARENT), place.hire(CHILD)
    async with connect(ParentFlow, settings=place.settings, timeout=150) as flow:
        handlers = [flow.run(StartEvent(number=number)) for number in range(RUNS)]

        async def all_sleep() -> bool:
            return await place.suspended("nestedchild", "rest") == 2 * RUNS

        await eventually(all_sleep, 90)
        parent.kill()
        child.kill()
        place.hire(CHILD)
        place.hire(PARENT)
        assert await asyncio.gather(*handlers) == [2 * number + 2 for number in range(RUNS)]
        bad = flow.run(StartEvent(number=1, seconds=60, bad=True))
        with pytest.raises(LookupError, match="number 1 is bad"):
            await bad
    await _check_tree(place, handlers[3].run_id)
    starts = await place.read("nestedchild.Number")
    assert len({one.run_id for one in starts}) == len(starts) == 2 * RUNS + 2
    told = [one.told for one in await place.read("nestedparent.inbox") if one.type == ENDED]
    # The run beside the bad one is cancelled with the parent, which tells it nothing then.
    assert len({*told}) == len(told)
    assert 2 * RUNS + 1 <= len(told) <= 2 * RUNS + 2
    async with connect(ChildFlow, settings=place.settings) as children:
        of_bad = [one.run_id for one in starts if bad.run_id in one.caller]
        outcomes = [await _outcome(children, run_id) for run_id in of_bad]
    assert sorted(outcomes) == ["cancelled", "failed"]


async def _check_tree(place: Place, run_id: str) -> None:
    """What `fleet runs show` shows of a run, and of one inside of it."""
    of_parent, of_child = Source(ParentFlow, place.settings), Source(ChildFlow, place.settings)
    details = await topic.details(of_parent, run_id, with_values=False)
    found = await tree.tree(of_parent, details)
    assert found.parents == []
    assert [one.outcome for one in found.root.children] == ["completed", "completed"]
    assert [row["workflow"] for row in run_shown.tree_rows(found)] == [
        "nestedparent",
        "nestedchild",
        "nestedchild",
    ]
    child = found.root.children[0].run_id
    inner = await tree.tree(of_child, await topic.details(of_child, child, with_values=False))
    assert [(one.run_id, one.outcome) for one in inner.parents] == [(run_id, "completed")]


async def test_an_app_runs_both(kafka_broker: Broker, tmp_path: Path) -> None:
    """With the other workflow on it."""
    name = f"nested{uuid.uuid4().hex[:8]}"
    app = faust.App(name, broker=kafka_broker.address, datadir=str(tmp_path))
    parent = ParentFlow(app=app, timeout=60)
    ChildFlow(app=app)
    assert await parent.run(number=4, seconds=0.1) == 10


async def _outcome(children: Connection[Doubled], run_id: str) -> str:
    handler = children.handler(run_id)
    await asyncio.wait_for(handler.until_done(), 30)
    return handler.outcome
