"""Each poison beside 500 healthy runs on a real broker: they complete, and the worker lives."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import bare
import pytest
import raw_names
from aiokafka import AIOKafkaProducer
from raises import KINDS
from raising_flow import UNREADABLE, Order, RaisingFlow
from workers import WorkerProcess

from fleet import WorkflowTimeoutError, connect
from fleet.client.connection import Connection
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker
from fleet.records.dead_letter import DeadLetter
from fleet.records.envelope import Envelope
from fleet.records.events import encoded
from fleet.records.partitions import partition_of

pytestmark = pytest.mark.kafka

HEALTHY = 500
PARTITIONS = 4


class Place:
    """A prefix of its own, and its worker, which may be started again."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker = broker
        self.prefix = f"poison{uuid4().hex[:8]}"
        self.folder = folder
        self.settings = Settings(
            broker=broker.address, prefix=self.prefix, data_dir=folder, partitions=PARTITIONS
        )
        self.starts = 0
        self.worker = self.start()

    def start(self) -> WorkerProcess:
        """Start a worker in the same folder."""
        self.starts += 1
        self.worker = WorkerProcess(
            "raising_flow",
            self.folder / "worker.log",
            FLEET_BROKER=self.broker.address,
            FLEET_PREFIX=self.prefix,
            FLEET_DATA_DIR=str(self.folder),
            FLEET_PARTITIONS=str(PARTITIONS),
        )
        return self.worker

    async def letters(self) -> list[DeadLetter]:
        """Return every dead letter."""
        topic = f"{self.prefix}.raising.main.dead"
        records = await bare.read(self.broker.bootstrap, topic)
        notes = [dict(each.headers)["fleet-dead-letter"] for each in records]
        return [DeadLetter.model_validate_json(note) for note in notes]

    async def keep_alive(self) -> None:
        """Start the worker again whenever it has ended."""
        while True:
            await asyncio.sleep(0.2)
            if not self.worker.is_alive():
                self.start()


@pytest.fixture
def place(kafka_broker: Broker, tmp_path: Path) -> Iterator[Place]:
    """A worker that serves."""
    made = Place(kafka_broker, tmp_path)
    yield made
    made.worker.stop()


@pytest.fixture
async def flow(place: Place) -> AsyncIterator[Connection]:
    """A caller."""
    async with connect(RaisingFlow, settings=place.settings, timeout=100) as connection:
        yield connection


@pytest.mark.timeout(240)
async def test_every_poison_beside_healthy_runs(place: Place, flow: Connection) -> None:
    """500 complete, each poison is one dead letter, and the worker is the one that was started."""
    poisons = [*KINDS, "cancel", UNREADABLE, "large"]
    await flow.run()
    runs = [flow.run() for _ in range(HEALTHY // 2)]
    runs += [flow.run(poison=each) for each in poisons]
    runs += [flow.run() for _ in range(HEALTHY - HEALTHY // 2)]

    results = await asyncio.gather(*runs, return_exceptions=True)

    failed = [each for each in results if issubclass(type(each), BaseException)]
    assert len(failed) == len(poisons)
    assert not any(issubclass(type(each), WorkflowTimeoutError) for each in failed)
    reasons = sorted(each.reason for each in await place.letters())
    assert reasons == sorted(["failed"] * (len(poisons) - 2) + ["undecodable", "too_large"])
    assert place.worker.is_alive()
    assert place.starts == 1


@pytest.mark.timeout(240)
async def test_foreign_records_beside_healthy_runs(place: Place, flow: Connection) -> None:
    """Headers and values that no worker writes, in every topic that is read."""
    await flow.run()
    foreign = [
        [("fleet-timeout-seconds", b"1.7e308")],
        [("fleet-timeout-seconds", b"nan")],
        [("fleet-epoch", b"9" * 4_000)],
        [("fleet-run-id", b"E" * 300_000)],
        [("fleet-event-id", b"\xff\0")],
        [("fleet-context", b"[" * 10_000)],
    ]
    producer = AIOKafkaProducer(bootstrap_servers=place.broker.bootstrap)
    await producer.start()
    for name in ("Order", "Part", "inbox", "runs"):
        for number, headers in enumerate(foreign):
            run_id = f"foreign-{name}-{number}"
            envelope = Envelope(run_id=run_id, event_id=run_id, type=name)
            await producer.send_and_wait(
                f"{place.prefix}.raising.{name}",
                key=run_id.encode(),
                value=b'{"poison":' * 5_000,
                headers=[*envelope.headers(), *headers],
                partition=partition_of(run_id, PARTITIONS),
            )
    # A start as a client writes it that chooses partitions by another hash than Kafka's.
    envelope = Envelope(run_id="astray", event_id="astray", type="Order")
    await producer.send_and_wait(
        f"{place.prefix}.raising.Order",
        key=b"astray",
        value=b"{}",
        headers=envelope.headers(),
        partition=(partition_of("astray", PARTITIONS) + 1) % PARTITIONS,
    )
    # A header whose name is not UTF-8, beside a fine envelope: it is ignored as other names are.
    named = "named in bytes"
    envelope = Envelope(run_id=named, event_id=named, type="Order")
    topic, own = f"{place.prefix}.raising.Order", partition_of(named, PARTITIONS)
    headers = [*envelope.headers(), (raw_names.Bytes(b"\xff\xfe"), b"1")]
    await raw_names.send(producer, topic, own, named.encode(), encoded(Order()), headers)
    await producer.stop()

    await asyncio.gather(*(flow.run() for _ in range(HEALTHY)))
    await flow.run(run_id=named)

    letters = await place.letters()
    assert len(letters) == 4 * len(foreign) + 1
    assert {each.reason for each in letters} == {"broken_envelope"}
    assert place.worker.is_alive()


@pytest.mark.timeout(240)
async def test_a_step_that_ends_its_process_beside_healthy_runs(
    place: Place, flow: Connection
) -> None:
    """Its run fails after a few deaths; the others complete, and the last worker lives."""
    await flow.run()
    keeping = asyncio.create_task(place.keep_alive())
    runs = [flow.run() for _ in range(HEALTHY // 2)]
    killer = flow.run(poison="kill")
    runs += [flow.run() for _ in range(HEALTHY - HEALTHY // 2)]

    with pytest.raises(Exception, match="crashes its worker"):
        await killer
    await asyncio.gather(*runs)

    keeping.cancel()
    (letter,) = await place.letters()
    assert (letter.reason, letter.attempts) == ("crashes_worker", 3)
    assert place.worker.is_alive()
    # Once before anybody knew, and three times that were counted.
    assert place.starts == 5
