"""
W5: how long a worker that starts loads a large state.

Entries are appended to the state topic of a worker that has stopped, as context of runs that there
are not. `start_s` is from the process's begin until every partition is served: with no entry added
(most of that is Python's imports and the consumer group), with a new folder, with a kept one.
`load_s` is the part of it in which a task loaded, the mean over the tasks, which load together.
"""

import asyncio
import secrets
import shutil
import time
from pathlib import Path

import scrape
from aiokafka import AIOKafkaProducer

from benchmarks import load, members
from benchmarks.contenders import fleet_worker
from benchmarks.joke_flow import JokeFlow
from benchmarks.scene import Contender, Figures, Scene
from fleet.kafka.rocks import RocksStore
from fleet.records import state
from fleet.records.topics import Topics

ABOUT = "W5: a worker starts over 100,000 and 1,000,000 state entries, folder new or kept"
STEP_SECONDS = 0.0
PATIENCE_SECONDS = 900
SIZES = {"100k": 100_000, "1m": 1_000_000}
_WORKER = "worker"
#: How the ids of the runs begin.
_RUN = b"none-"
#: As long as a line of text.
_VALUE_BYTES = 100
_ENTRIES_PER_TRANSACTION = 5_000


async def measure(contender: Contender, scene: Scene) -> Figures:
    """Return the seconds of each kind of start; a run after each has to be right."""
    found: Figures = {"runs": 0, "wrong": 0}
    # Makes the topics and the state that the others find.
    await _start(scene, found, "first", 0)
    await _start(scene, found, "empty", 0)
    there = 0
    for name, full in SIZES.items():
        entries = scene.count(full)
        await _append(scene, there, entries)
        there = max(there, entries)
        shutil.rmtree(scene.folder / _WORKER)
        await _start(scene, found, f"{name}_new", there)
        await _start(scene, found, f"{name}_kept", there)
    return found


async def _start(scene: Scene, found: Figures, kind: str, entries: int) -> None:
    """Start a worker, do a run, stop it; every entry has to be in its folder then."""
    begun = time.perf_counter()
    worker = fleet_worker.start(scene, _WORKER)
    try:
        await members.all_serve([worker], scene.partitions)
        found[f"start_s_{kind}"] = time.perf_counter() - begun
        found[f"load_s_{kind}"] = _mean_load_seconds(worker.metrics())
        async with fleet_worker.calling(scene, worker) as line, asyncio.timeout(load.READY_SECONDS):
            found["wrong"] += await load.one(line, "after the start")
            found["runs"] += 1
        await asyncio.to_thread(worker.terminate)
    finally:
        worker.stop()
    found["wrong"] += entries - _loaded(scene.folder / _WORKER)


def _mean_load_seconds(page: str) -> float:
    name = "fleet_task_load_seconds"
    return scrape.value(page, f"{name}_sum") / scrape.value(page, f"{name}_count")


def _loaded(folder: Path) -> int:
    """Return how many of the entries the databases below a folder hold."""
    return sum(_entries(each.parent) for each in folder.rglob("CURRENT"))


def _entries(database: Path) -> int:
    store = RocksStore(database)
    try:
        return sum(1 for _ in store.items(state.CONTEXT + _RUN))
    finally:
        store.close()


async def _append(scene: Scene, first: int, end: int) -> None:
    """Add the entries from *first* up to *end*, spread over the partitions."""
    topic = Topics(scene.prefix, JokeFlow.workflow_name, JokeFlow.group_name).state
    producer = AIOKafkaProducer(
        bootstrap_servers=scene.bootstrap, transactional_id=f"{scene.prefix}.filler"
    )
    await producer.start()
    try:
        for begin in range(first, end, _ENTRIES_PER_TRANSACTION):
            async with producer.transaction():
                sent = [
                    await producer.send(topic, _value(), _key(each), each % scene.partitions)
                    for each in range(begin, min(begin + _ENTRIES_PER_TRANSACTION, end))
                ]
                await asyncio.gather(*sent)
    finally:
        await producer.stop()


def _key(number: int) -> bytes:
    return b"%bpath" % state.context_prefix(f"{_RUN.decode()}{number}")


def _value() -> bytes:
    # Of what does not compress: text of a model hardly does either.
    return b'"%b"' % secrets.token_hex(_VALUE_BYTES // 2 - 1).encode()
