"""What callers do on Kafka; `tests/unit/test_calls.py` has the same in memory."""

import asyncio
import uuid
from collections.abc import Iterator

import pytest
from call_cases import CASES, Case
from call_flow import CallFlow
from workers import WorkerProcess

from fleet import connect
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def served(kafka_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a worker that runs while the module's tests do."""
    folder = tmp_path_factory.mktemp("calls")
    prefix = f"calls-{uuid.uuid4().hex[:8]}"
    settings = Settings(broker=kafka_broker.address, prefix=prefix, data_dir=folder, partitions=2)
    worker = WorkerProcess(
        "call_flow",
        folder / "worker.log",
        FLEET_BROKER=kafka_broker.address,
        FLEET_PREFIX=prefix,
        FLEET_DATA_DIR=str(folder),
        FLEET_PARTITIONS="2",
    )
    yield settings
    worker.stop()


@pytest.mark.parametrize("case", CASES, ids=[each.name for each in CASES])
async def test_on_kafka(case: Case, served: Settings) -> None:
    """A case comes to the same wherever it runs."""
    async with connect(CallFlow, settings=served, timeout=60) as flow:
        async with asyncio.timeout(120):
            assert await case.act(flow) == case.expected
