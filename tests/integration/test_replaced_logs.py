"""
Logs that are replaced or cut underneath a worker, on a real broker.

Somebody deletes a topic and somebody makes it again, or retention removes what was not read. Kafka
says nothing of either to who reads on by offsets.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import native
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from timer_flow import TimerFlow
from workers import WorkerProcess

from fleet import connect
from fleet.client.connection import Connection
from fleet.config.settings import Settings
from fleet.dev.kafka import Broker
from fleet.records.envelope import Envelope

pytestmark = pytest.mark.kafka

#: How long a worker may take to notice, in seconds: a bound for the test, not the promise.
NOTICED = 60


class Fleet:
    """A prefix of its own with one partition, an administrator, and workers."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker = broker
        self.folder = folder
        self.prefix = f"replaced{uuid4().hex[:8]}"
        self.workers: list[WorkerProcess] = []
        self.admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)

    @property
    def settings(self) -> Settings:
        return Settings(
            broker=self.broker.address, prefix=self.prefix, data_dir=self.folder, partitions=1
        )

    def worker(self, **variables: str) -> WorkerProcess:
        started = WorkerProcess(
            "timer_flow",
            self.folder / f"worker-{len(self.workers)}.log",
            FLEET_BROKER=self.broker.address,
            FLEET_PREFIX=self.prefix,
            FLEET_PARTITIONS="1",
            FLEET_DATA_DIR=str(self.folder),
            **variables,
        )
        self.workers.append(started)
        return started

    def connect(self) -> Connection:
        return connect(TimerFlow, settings=self.settings, timeout=60)

    def topic(self, name: str) -> str:
        return f"{self.prefix}.timer.{name}"

    async def run(self, *topics: str) -> None:
        """Make these runs; each has to complete."""
        async with self.connect() as flow:
            await asyncio.gather(*(flow.run(topic=topic) for topic in topics))

    async def replace(self, topic: str) -> None:
        """Delete a topic and make it again, as it was."""
        await self.admin.delete_topics([topic])
        compact = {"cleanup.policy": "compact"} if topic.endswith(".state") else {}
        config = {"message.timestamp.type": "LogAppendTime", **compact}
        await native.eventually(
            lambda: self._made(NewTopic(topic, 1, 1, topic_configs=config)), seconds=30
        )

    async def _made(self, topic: NewTopic) -> bool:
        response: Any = await self.admin.create_topics([topic])
        return bool(response.topic_errors[0][1] == 0)

    async def cut(self, topic: str) -> None:
        """Remove all records of a topic, as retention does."""
        tp = TopicPartition(topic, 0)
        end = (await self.ends(topic))[1]
        await self.admin.delete_records({tp: RecordsToDelete(before_offset=end)})

    async def ends(self, topic: str) -> tuple[int, int]:
        """Where a topic begins and ends."""
        tp = TopicPartition(topic, 0)
        async with AIOKafkaConsumer(bootstrap_servers=self.broker.bootstrap) as consumer:
            begin = await consumer.beginning_offsets([tp])
            return begin[tp], (await consumer.end_offsets([tp]))[tp]

    async def send_starts(self, *run_ids: str) -> None:
        """Write start events, as callers do that do not wait."""
        async with AIOKafkaProducer(bootstrap_servers=self.broker.bootstrap) as producer:
            for run_id in run_ids:
                envelope = Envelope(run_id=run_id, event_id=uuid4().hex, type="StartEvent")
                await producer.send_and_wait(
                    self.topic("StartEvent"),
                    key=run_id.encode(),
                    value=b'{"topic": "x"}',
                    headers=envelope.headers(),
                    partition=0,
                )

    async def stop(self) -> None:
        for worker in self.workers:
            worker.stop()
        await self.admin.close()


@pytest.fixture
async def fleet(kafka_broker: Broker, tmp_path: Path) -> AsyncIterator[Fleet]:
    fleet = Fleet(kafka_broker, tmp_path)
    await fleet.admin.start()
    yield fleet
    await fleet.stop()


async def ended(worker: WorkerProcess) -> str:
    """Wait until a worker has ended by itself; return what it said."""
    await native.eventually(lambda: _is_over(worker), seconds=NOTICED)
    assert worker.process.returncode != 0
    return worker.output()


async def _is_over(worker: WorkerProcess) -> bool:
    return not worker.is_alive()


TOPICS = ("StartEvent", "runs", "inbox", "main.state")


@pytest.mark.parametrize("name", TOPICS)
async def test_a_topic_made_anew_under_a_running_worker_ends_it(fleet: Fleet, name: str) -> None:
    """The sentence names the topic, and what to do."""
    worker = fleet.worker()
    await fleet.run("a", "b")

    await fleet.replace(fleet.topic(name))

    said = await ended(worker)
    assert f"{fleet.topic(name)} was deleted and created again" in said
    assert "FLEET_ACCEPT_LOGS=" in said


@pytest.mark.parametrize("name", TOPICS)
async def test_a_topic_made_anew_between_two_workers_is_refused(fleet: Fleet, name: str) -> None:
    """The next worker does not read on by offsets of another log, however long that is by now."""
    worker = fleet.worker()
    await fleet.run("a", "b", "c")
    assert worker.terminate() == 0
    await fleet.replace(fleet.topic(name))
    await fleet.send_starts(*(f"new-{number}" for number in range(20)))

    said = await ended(fleet.worker())

    assert fleet.topic(name) in said
    assert "FLEET_ACCEPT_LOGS=" in said


@pytest.mark.parametrize("name", TOPICS)
async def test_a_log_that_is_accepted_is_gone_on_with(fleet: Fleet, name: str) -> None:
    """With the id that the sentence names, runs that are started from then on complete."""
    worker = fleet.worker()
    await fleet.run("a", "b", "c")
    assert worker.terminate() == 0
    await fleet.replace(fleet.topic(name))
    said = await ended(fleet.worker())
    accepted = re.findall(r"FLEET_ACCEPT_LOGS=([\w-]{22})", said)[-1]

    second = fleet.worker(FLEET_ACCEPT_LOGS=accepted)
    await fleet.run("d", "e")
    assert second.terminate() == 0

    fleet.worker()
    await fleet.run("f")


async def test_unread_starts_that_are_gone_are_said_and_counted(fleet: Fleet) -> None:
    """Retention has removed three starts that nobody had read: said, counted, and gone on with."""
    worker = fleet.worker()
    await fleet.run("a")
    assert worker.terminate() == 0
    await fleet.send_starts("x", "y", "z")
    await fleet.cut(fleet.topic("StartEvent"))

    second = fleet.worker()
    await fleet.run("b")

    assert "records_lost" in second.output()
    assert re.search(
        r'fleet_records_lost_total\{[^}]*topic="[^"]*StartEvent"[^}]*\} 3.0', second.metrics()
    )
