"""The floor: the flow by hand on aiokafka, in a process of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks import processes, topics
from benchmarks.scene import Line, Scene

ABOUT = "hand-written aiokafka, a task per message, no state, nothing survives in flight: the floor"
WORKLOADS = ("overhead", "burst", "latency", "growth", "steady", "in_flight")


def missing() -> str:
    """Nothing is."""
    return ""


@asynccontextmanager
async def serving(scene: Scene) -> AsyncIterator[Line]:
    """One process for the time of a block."""
    async with (
        topics.caller(scene.bootstrap, scene.prefix, scene.partitions) as caller,
        processes.program(scene, "benchmarks.programs.floor_joke") as pid,
    ):
        yield Line(caller.run, (pid,))
