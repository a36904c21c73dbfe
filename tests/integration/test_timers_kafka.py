"""Steps that wait for their time, on a real broker around kills of their workers."""

import asyncio
import uuid
from collections import Counter
from pathlib import Path

import bare
import pytest
from native import eventually
from waiting_flow import SLEEP_SECONDS, WAIT_SECONDS, WaitingFlow
from workers import WorkerProcess

from fleet import StartEvent, connect
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker
from fleet.records.lifecycle import RETRIED, RETURNED, SUSPENDED, StepRecord

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(200)]

RUNS = 40


class Place:
    """A prefix of its own, and one worker after the other."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self._bootstrap = broker.bootstrap
        self._folder = folder
        self._number = 0
        self.settings = Settings(
            broker=broker.address,
            prefix=f"waiting{uuid.uuid4().hex[:8]}",
            data_dir=folder,
            partitions=2,
        )

    def hire(self) -> WorkerProcess:
        """Start a worker with a state of its own: it has to read the changelog."""
        self._number += 1
        name = f"worker-{self._number}"
        return WorkerProcess(
            "waiting_flow",
            self._folder / f"{name}.log",
            FLEET_BROKER=self.settings.broker,
            FLEET_PREFIX=self.settings.prefix,
            FLEET_PARTITIONS="2",
            FLEET_DATA_DIR=str(self._folder / name),
        )

    async def attempts(self) -> Counter[tuple[str, str, int]]:
        """Count the attempts in the log by step, outcome and number."""
        records = await bare.read(self._bootstrap, f"{self.settings.prefix}.waiting.history")
        told = [StepRecord.decode(record.value or b"") for record in records]
        return Counter((one.step, one.outcome, one.attempt) for one in told)

    async def until(self, step: str, outcome: str) -> None:
        """Return when the step of every run has ended an attempt so."""

        async def there() -> bool:
            found = await self.attempts()
            return sum(n for key, n in found.items() if key[:2] == (step, outcome)) == RUNS

        await eventually(there, 60)


async def test_what_is_due_while_no_worker_runs_is_run_once(
    kafka_broker: Broker, tmp_path: Path
) -> None:
    """Workers are killed while steps sleep, and again while they wait for another attempt."""
    place = Place(kafka_broker, tmp_path)
    worker = place.hire()
    try:
        async with connect(WaitingFlow, settings=place.settings, timeout=150) as flow:
            handlers = [flow.run(StartEvent(number=number)) for number in range(RUNS)]
            for step, outcome, seconds in (
                ("rest", SUSPENDED, SLEEP_SECONDS),
                ("work", RETRIED, WAIT_SECONDS),
            ):
                await place.until(step, outcome)
                worker.kill()
                # Now every one of them is due.
                await asyncio.sleep(seconds)
                worker = place.hire()
            assert await asyncio.gather(*handlers) == list(range(RUNS))
        assert await place.attempts() == {
            ("rest", SUSPENDED, 1): RUNS,
            ("rest", RETURNED, 1): RUNS,
            ("work", RETRIED, 1): RUNS,
            ("work", RETURNED, 2): RUNS,
        }
    finally:
        worker.stop()
