"""What a worker holds stays small on a real broker: large events that wait, runs that end."""

from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from ends_flow import EndsFlow
from ends_growth import measure
from workers import WorkerProcess

from fleet.config.settings import Settings
from fleet.dev.kafka import Broker
from fleet.kafka import provision
from fleet.records.envelope import Envelope
from fleet.records.partitions import partition_of
from fleet.records.topics import Topics
from fleet.workflow import definition

pytestmark = pytest.mark.kafka

EVENTS, EVENT_BYTES = 2_000, 400_000
MOST_RESIDENT_BYTES = 600 * 1024 * 1024
PARTITIONS = 8
LEAST_ENDED = 9_000


@pytest.mark.timeout(300)
async def test_forgetting_keeps_up_with_ending(kafka_broker: Broker, tmp_path: Path) -> None:
    """300 runs a second on one partition: most of them are gone; the long form is a script."""
    growth = await measure(
        kafka_broker.address, tmp_path, rate=300, seconds=60, window=10, least=LEAST_ENDED
    )
    entries, _ = growth.end
    # Of a minute at this rate, 100 forgotten a second would leave three quarters.
    assert entries < growth.ended / 2


@pytest.mark.timeout(300)
async def test_large_events_that_wait_take_little_memory(
    kafka_broker: Broker, tmp_path: Path
) -> None:
    """800 MB wait for ten slots; the worker takes them as it goes, and all runs end."""
    settings = Settings(
        broker=kafka_broker.address, prefix=f"large{uuid4().hex[:8]}", partitions=PARTITIONS
    )
    topics = Topics(settings.prefix, EndsFlow.workflow_name, EndsFlow.group_name)
    await provision.ensure(topics, definition.graph(EndsFlow), settings)
    await _queue(settings, topics)
    worker = WorkerProcess(
        "ends_flow",
        tmp_path / "worker.log",
        FLEET_BROKER=settings.broker,
        FLEET_PREFIX=settings.prefix,
        FLEET_DATA_DIR=str(tmp_path),
        FLEET_SLOTS="10",
        ENDS_SECONDS="0.1",
    )
    try:
        await _ended(settings, topics)
        peak = _most_resident(worker)
        assert peak < MOST_RESIDENT_BYTES
    finally:
        worker.stop()
        await _remove(settings, topics)


async def _queue(settings: Settings, topics: Topics) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers)
    await producer.start()
    try:
        value = b'{"text": "%b"}' % (b"x" * EVENT_BYTES)
        for number in range(EVENTS):
            run_id = f"run {number}"
            envelope = Envelope(run_id=run_id, event_id=f"start {run_id}", type="StartEvent")
            await producer.send(
                topics.event("StartEvent"),
                key=run_id.encode(),
                value=value,
                headers=envelope.headers(),
                partition=partition_of(run_id, PARTITIONS),
            )
    finally:
        await producer.stop()


async def _ended(settings: Settings, topics: Topics) -> None:
    """Return when every run has ended."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers, isolation_level="read_committed"
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topics.runs, each) for each in range(PARTITIONS)])
        await consumer.seek_to_beginning()
        ended: set[bytes | None] = set()
        while len(ended) < EVENTS:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                ended |= {
                    record.key
                    for record in records
                    if dict(record.headers)["fleet-type"] == b"completed"
                }
    finally:
        await consumer.stop()


def _most_resident(worker: WorkerProcess) -> int:
    """Return the most memory that a worker has had, in bytes; Linux tells."""
    lines = Path(f"/proc/{worker.process.pid}/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024


async def _remove(settings: Settings, topics: Topics) -> None:
    """Give the broker its disk back."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics([topics.event("StartEvent"), topics.state])
    finally:
        await admin.close()
