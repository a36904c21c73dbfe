"""A worker whose clock is set while runs go on: what ends them is the broker's clock."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import bare
import pytest
from stepped_flow import SteppedFlow
from workers import WorkerProcess

from fleet import WorkflowTimeoutError, connect
from fleet.client.connection import Connection
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker

pytestmark = pytest.mark.kafka
HOUR = 3600


class Place:
    """A worker under a prefix of its own, and a caller."""

    def __init__(self, broker: Broker, folder: Path, flow: Connection, prefix: str) -> None:
        self.flow = flow
        self._broker = broker
        self._folder = folder
        self._prefix = prefix
        self.workers: list[WorkerProcess] = []

    def worker(self) -> WorkerProcess:
        """Start one."""
        self.workers.append(
            WorkerProcess(
                "stepped_flow",
                self._folder / f"worker-{len(self.workers)}.log",
                FLEET_BROKER=self._broker.address,
                FLEET_PREFIX=self._prefix,
                FLEET_DATA_DIR=str(self._folder),
            )
        )
        return self.workers[-1]

    async def lasted(self, run_id: str) -> float:
        """Return how long a run went on, in seconds, by the append times of its records."""
        records = await bare.read(self._broker.bootstrap, f"{self._prefix}.stepped.runs")
        times = [record.timestamp for record in records if record.key == run_id.encode()]
        return (times[-1] - times[0]) / 1000


@pytest.fixture
async def place(kafka_broker: Broker, tmp_path: Path) -> AsyncIterator[Place]:
    prefix = f"clocks{uuid4().hex[:8]}"
    settings = Settings(broker=kafka_broker.address, prefix=prefix, data_dir=tmp_path)
    async with connect(SteppedFlow, settings=settings) as flow:
        made = Place(kafka_broker, tmp_path, flow, prefix)
        yield made
    for worker in made.workers:
        worker.stop()


async def test_a_clock_that_is_set_forward_ends_no_run(place: Place) -> None:
    """Two hours pass on the machine, and hardly a moment at the broker."""
    place.worker()
    waits = place.flow.run(run_id="waits", ahead=0, seconds=3, timeout=600)
    steps = [place.flow.run(ahead=HOUR, seconds=0.1, timeout=600) for _ in range(2)]

    assert [await each for each in steps][-1] == 2 * HOUR
    assert await waits == 2 * HOUR


async def test_a_clock_that_is_set_back_keeps_no_run_alive(place: Place) -> None:
    """The broker's clock has reached the deadline, whatever the machine's shows."""
    place.worker()
    hangs = place.flow.run(run_id="hangs", ahead=-HOUR, seconds=300, timeout=4)

    with pytest.raises(WorkflowTimeoutError):
        await hangs
    assert 3.9 < await place.lasted("hangs") < HOUR


async def test_a_worker_with_another_clock_goes_on_with_a_run(place: Place) -> None:
    """The next worker's clock is right, and its predecessor's was an hour ahead."""
    worker = place.worker()
    runs = [
        place.flow.run(run_id="ends", ahead=HOUR, seconds=4, timeout=600),
        place.flow.run(run_id="hangs", ahead=0, seconds=300, timeout=15),
    ]
    assert await place.flow.run(ahead=0, seconds=0.1, timeout=600) == HOUR
    worker.kill()
    place.worker()

    assert await runs[0] == HOUR
    with pytest.raises(WorkflowTimeoutError):
        await runs[1]
    assert 14.9 < await place.lasted("hangs") < HOUR
