"""Types that users put into events, on Kafka: the outcome of every case is that in memory."""

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from value_cases import CASES, WAYS, ValueFlow, check, outcome
from workers import WorkerProcess

from fleet import connect
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

Outcomes = dict[tuple[str, str], str]


async def _all(flow: Any) -> Outcomes:
    tried = [(case, way) for case in CASES for way in WAYS]
    found = await asyncio.gather(*(outcome(flow, case, way) for case, way in tried))
    return dict(zip(tried, found, strict=True))


async def _on_kafka(settings: Settings) -> Outcomes:
    async with connect(ValueFlow, settings=settings, timeout=200) as flow:
        return await _all(flow)


@pytest.fixture(scope="module")
def on_kafka(kafka_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    """What becomes of every case between two processes."""
    folder = tmp_path_factory.mktemp("values")
    prefix = f"values{uuid4().hex[:8]}"
    variables = {
        "FLEET_BROKER": kafka_broker.address,
        "FLEET_PREFIX": prefix,
        "FLEET_PARTITIONS": "1",
        "FLEET_DATA_DIR": str(folder),
    }
    worker = WorkerProcess("value_cases", folder / "worker.log", **variables)
    settings = Settings(
        broker=kafka_broker.address, prefix=prefix, partitions=1, data_dir=folder / "caller"
    )
    try:
        yield asyncio.run(_on_kafka(settings))
    finally:
        worker.stop()


@pytest.fixture(scope="module")
def in_memory() -> Outcomes:
    """What becomes of every case in one process."""
    return asyncio.run(_all(ValueFlow(timeout=60)))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_a_value_comes_back_as_it_was_or_is_refused(
    on_kafka: Outcomes, in_memory: Outcomes, case: str, way: str
) -> None:
    """Equal and of its type, or its sender is told; as in memory."""
    check(case, on_kafka[case, way])
    first = [each[case, way].splitlines()[0] for each in (on_kafka, in_memory)]
    assert first[0] == first[1]
