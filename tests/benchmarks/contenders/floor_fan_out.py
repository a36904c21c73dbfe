"""The floor of the fan-out: by hand on aiokafka, in a process of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks import fan_out, processes, topics
from benchmarks.scene import Line, Scene

ABOUT = "hand-written aiokafka, a task per message, the join in memory: the floor of the fan-out"
WORKLOADS = ("fan_out", "wide")


def missing() -> str:
    """Nothing is."""
    return ""


@asynccontextmanager
async def serving(scene: Scene) -> AsyncIterator[Line]:
    """One process for the time of a block."""
    count = int(scene.variables[fan_out.VARIABLE])
    where = (scene.bootstrap, scene.prefix, scene.partitions)
    async with (
        topics.caller(*where, topics.FAN_OUT) as caller,
        processes.program(scene, "benchmarks.programs.floor_fan_out") as pid,
    ):
        yield Line(caller.run, (pid,), lambda topic: fan_out.expected(topic, count))
