"""Plain Faust: two agents on topics, one event at a time, and a table between them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from workers import WorkerProcess

from benchmarks import processes, topics
from benchmarks.scene import Line, Scene

ABOUT = "plain Faust: agents on topics, one event at a time, a table holds the context"
WORKLOADS = ("overhead", "latency", "growth", "steady")


def missing() -> str:
    """Nothing is."""
    return ""


@asynccontextmanager
async def serving(scene: Scene) -> AsyncIterator[Line]:
    """One worker process for the time of a block."""
    async with serving_with(scene, concurrency=1) as line:
        yield line


@asynccontextmanager
async def serving_with(scene: Scene, concurrency: int) -> AsyncIterator[Line]:
    """One worker process whose agents have so many actors."""
    async with topics.caller(scene.bootstrap, scene.prefix, scene.partitions) as caller:
        worker = WorkerProcess(
            "benchmarks.programs.faust_joke",
            scene.folder / "worker.log",
            BENCH_CONCURRENCY=str(concurrency),
            **processes.variables(scene),
        )
        try:
            yield Line(caller.run, (worker.process.pid,))
        finally:
            worker.stop()
