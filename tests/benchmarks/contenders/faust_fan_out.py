"""Plain Faust that fans out: a hundred actors for the parts, a table that counts them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from workers import WorkerProcess

from benchmarks import fan_out, processes, topics
from benchmarks.scene import Line, Scene

ABOUT = "plain Faust, concurrency=100 for the parts (ideal 10 s), a table that only counts them"
WORKLOADS = ("fan_out",)


def missing() -> str:
    """Nothing is."""
    return ""


@asynccontextmanager
async def serving(scene: Scene) -> AsyncIterator[Line]:
    """One worker process for the time of a block."""
    count = int(scene.variables[fan_out.VARIABLE])
    where = (scene.bootstrap, scene.prefix, scene.partitions)
    async with topics.caller(*where, topics.FAN_OUT) as caller:
        worker = WorkerProcess(
            "benchmarks.programs.faust_fan_out",
            scene.folder / "worker.log",
            **processes.variables(scene),
        )
        try:
            pids = (worker.process.pid,)
            yield Line(caller.run, pids, lambda topic: fan_out.expected(topic, count))
        finally:
            worker.stop()
