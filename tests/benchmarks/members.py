"""Several Fleet workers, and what they say of themselves."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import scrape
from workers import WorkerProcess

from benchmarks.contenders import fleet_worker
from benchmarks.scene import Scene

READY_SECONDS = 120.0
_LOOK_SECONDS = 0.02


@contextmanager
def started(scene: Scene, count: int) -> Iterator[list[WorkerProcess]]:
    """So many workers for the time of a block."""
    workers: list[WorkerProcess] = []
    try:
        # One by one: those that were started are stopped where the next one fails.
        for number in range(count):
            workers += [fleet_worker.start(scene, f"worker{number}")]
        yield workers
    finally:
        for worker in workers:
            worker.stop()


def tasks(worker: WorkerProcess) -> int:
    """Return how many partitions a worker serves now; 0 while it does not answer."""
    try:
        page = worker.metrics()
    except OSError:
        return 0
    return int(scrape.value(page, "fleet_tasks", state="running"))


async def all_serve(workers: list[WorkerProcess], partitions: int) -> None:
    """Return when every partition is served, and by every worker its share."""
    share = partitions // len(workers)
    async with asyncio.timeout(READY_SECONDS):
        while True:
            counts = await asyncio.gather(*(asyncio.to_thread(tasks, each) for each in workers))
            if sum(counts) == partitions and min(counts) >= share:
                return
            await asyncio.sleep(_LOOK_SECONDS)
