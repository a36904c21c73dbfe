"""What callers do on Kafka; `tests/unit/control/test_calls.py` has the same in memory."""

import asyncio
import uuid
from collections.abc import Iterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from call_cases import CASES, Case
from call_flow import CallFlow
from workers import WorkerProcess

from fleet import connect
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker
from fleet.kafka import provision
from fleet.kafka.calling.caller_topics import TopicGone, TopicReplaced
from fleet.kafka.transport import WATCH_SECONDS
from fleet.records.topics import Topics
from fleet.workflow import definition
from fleet.workflow.errors import RunUnheard

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


async def test_a_caller_hears_that_a_topic_was_made_again(kafka_broker: Broker) -> None:
    """Where it would wait until its timeout for records that are gone."""
    prefix = f"calls-{uuid.uuid4().hex[:8]}"
    settings = Settings(broker=kafka_broker.address, prefix=prefix, partitions=2)
    runs = f"{prefix}.calls.runs"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap)
    await admin.start()
    try:
        async with connect(CallFlow, settings=settings, timeout=100) as flow:
            handler = flow.run()
            # Two looks: the first has noted the id.
            await asyncio.sleep(WATCH_SECONDS + 1)
            await admin.delete_topics([runs])
            await provision.ensure(
                Topics(prefix, "calls", "main"), definition.graph(CallFlow), settings
            )
            with pytest.raises((TopicReplaced, TopicGone), match=runs):
                await asyncio.wait_for(handler, 60)
    finally:
        await admin.close()


async def test_a_caller_hears_that_no_worker_is_there(
    kafka_broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """Soon after the start, and again when its time is over."""
    prefix = f"calls-{uuid.uuid4().hex[:8]}"
    settings = Settings(broker=kafka_broker.address, prefix=prefix, partitions=2)
    async with connect(CallFlow, settings=settings, timeout=2) as flow:
        with pytest.raises(RunUnheard, match=f"FLEET_PREFIX={prefix}. The run stays queued"):
            await flow.run()
    said = [str(each.msg) for each in caplog.records if "no_worker" in str(each.msg)]
    assert len(said) == 1
    assert f"No worker of the step group {prefix}.calls.main is there" in said[0]


@pytest.mark.parametrize("case", CASES, ids=[each.name for each in CASES])
async def test_on_kafka(case: Case, served: Settings) -> None:
    """A case comes to the same wherever it runs."""
    async with connect(CallFlow, settings=served, timeout=60) as flow:
        async with asyncio.timeout(120):
            assert await case.act(flow) == case.expected
