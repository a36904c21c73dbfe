"""Quix Streams: synchronous, a process of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec

from benchmarks import processes, topics
from benchmarks.scene import Line, Scene

ABOUT = "Quix Streams, synchronous, no state: one step at a time"
WORKLOADS = ("overhead", "latency", "steady")


def missing() -> str:
    """Return how to get it where it is not there."""
    if find_spec("quixstreams"):
        return ""
    return "quixstreams is not installed: pip install -r tests/benchmarks/requirements.txt"


@asynccontextmanager
async def serving(scene: Scene) -> AsyncIterator[Line]:
    """One process for the time of a block."""
    async with (
        topics.caller(scene.bootstrap, scene.prefix, scene.partitions) as caller,
        processes.program(scene, "benchmarks.programs.quix_joke") as pid,
    ):
        yield Line(caller.run, (pid,))
