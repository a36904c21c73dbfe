"""
Does forgetting keep up with ending? `python tests/acceptance/ends_growth.py --seconds 1200`

Runs end at a steady rate on one partition of a real broker, and are remembered for a short time.
The state, as its changelog gives it, is measured at the half and at the end: it may not grow. In CI
the short form runs (`test_bounds.py`).
"""

import argparse
import asyncio
import logging
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from ends_flow import EndsFlow
from scrape import value
from workers import WorkerProcess

from fleet.config.settings import Settings
from fleet.records.envelope import Envelope
from fleet.records.topics import Topics

DAY_SECONDS = 86_400
#: How much larger the state may be at the end than at the half.
MOST_GROWTH = 1.1
#: Starts are written so often, in seconds.
_BEAT_SECONDS = 0.1


@dataclass(frozen=True)
class Growth:
    """What was measured."""

    #: Entries and bytes of the changelog that count, at the half and at the end.
    half: tuple[int, int]
    end: tuple[int, int]
    #: Runs that were started, and those that ended.
    started: int
    ended: int

    @property
    def ratio(self) -> float:
        """How much larger the state is at the end than at the half, in bytes."""
        return self.end[1] / max(1, self.half[1])


class State:
    """The changelog, compacted as it is read."""

    def __init__(self) -> None:
        self._sizes: dict[bytes, int] = {}
        self.size = 0
        #: Ends that were written.
        self.ended = 0

    def take(self, record: Any) -> None:
        """Apply one record."""
        self.size -= self._sizes.pop(record.key, 0)
        if record.value is not None:
            self._sizes[record.key] = len(record.key) + len(record.value)
            self.size += self._sizes[record.key]
            self.ended += record.key.startswith(b"e\0")

    def now(self) -> tuple[int, int]:
        """Return its entries and its bytes."""
        return len(self._sizes), self.size


async def measure(
    broker: str, folder: Path, rate: int, seconds: float, window: float, least: int = 0
) -> Growth:
    """Let *rate* runs a second end for *seconds*, remembered for *window* seconds.

    On a busy machine it takes longer: until *least* runs have ended.
    """
    settings = Settings(broker=broker, prefix=f"ends{uuid4().hex[:8]}", partitions=1)
    topics = Topics(settings.prefix, EndsFlow.workflow_name, EndsFlow.group_name)
    worker = WorkerProcess(
        "ends_flow",
        folder / "worker.log",
        FLEET_BROKER=broker,
        FLEET_PREFIX=settings.prefix,
        FLEET_DATA_DIR=str(folder),
        FLEET_PARTITIONS="1",
        FLEET_DEDUPE_DAYS=repr(window / DAY_SECONDS),
        FLEET_RESUME_DAYS=repr(window / DAY_SECONDS),
    )
    state = State()
    reading = asyncio.create_task(_read(settings, topics.state, state))
    try:
        return await _measured(settings, topics, state, rate, seconds, least, worker)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        worker.stop()


async def _measured(
    settings: Settings,
    topics: Topics,
    state: State,
    rate: int,
    seconds: float,
    least: int,
    worker: WorkerProcess,
) -> Growth:
    # It complains of topics that are not there yet.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers, linger_ms=20)
    await producer.start()
    try:
        # The clock starts with the first end.
        while not state.ended:
            await _start(producer, topics, 0, 1)
            await asyncio.sleep(1)
        began, started, half = time.monotonic(), 1, (0, 0)
        told = 0.0
        while (passed := time.monotonic() - began) < seconds or state.ended < least:
            wanted = int(passed * rate)
            await _start(producer, topics, started, wanted - started + 1)
            started = max(started, wanted + 1)
            if passed >= seconds / 2 and not half[0]:
                half = state.now()
            if passed - told >= 10:
                told = passed
                _tell(passed, state, worker)
            await asyncio.sleep(_BEAT_SECONDS)
        _tell(passed, state, worker)
        return Growth(half, state.now(), started, state.ended)
    finally:
        await producer.stop()


async def _start(producer: AIOKafkaProducer, topics: Topics, first: int, count: int) -> None:
    for number in range(first, first + count):
        run_id = f"run {number}"
        envelope = Envelope(run_id=run_id, event_id=f"start {run_id}", type="StartEvent")
        await producer.send(
            topics.event("StartEvent"),
            key=run_id.encode(),
            value=b"{}",
            headers=envelope.headers(),
            partition=0,
        )


async def _read(settings: Settings, topic: str, state: State) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers,
        isolation_level="read_committed",
        metadata_max_age_ms=1_000,
    )
    await consumer.start()
    try:
        while not consumer.partitions_for_topic(topic):
            await consumer._client.force_metadata_update()
            await consumer.topics()
            await asyncio.sleep(0.5)
        tp = TopicPartition(topic, 0)
        consumer.assign([tp])
        await consumer.seek_to_beginning(tp)
        while True:
            for record in (await consumer.getmany(tp, timeout_ms=500)).get(tp, ()):
                state.take(record)
    finally:
        await consumer.stop()


def _tell(passed: float, state: State, worker: WorkerProcess) -> None:
    entries, size = state.now()
    local = round(value(worker.metrics(), "fleet_state_bytes"))
    what = f"{state.ended:,} ended, {entries:,} entries, {size:,} bytes, {local:,} on disk"
    _say(f"{passed:7.0f} s: {what}")


def _say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main() -> int:
    """Measure as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", default=os.environ.get("FLEET_TEST_BROKER", ""))
    parser.add_argument("--rate", type=int, default=300, help="runs that end in a second")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--window", type=float, default=20, help="FLEET_DEDUPE_DAYS, in seconds")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measuring = measure(chosen.broker, Path(folder), chosen.rate, chosen.seconds, chosen.window)
        growth = asyncio.run(measuring)
    _say(f"{growth}: {growth.ratio:.3f}")
    return growth.ratio > MOST_GROWTH


if __name__ == "__main__":
    raise SystemExit(main())
