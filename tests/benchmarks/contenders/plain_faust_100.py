"""Plain Faust with a hundred actors an agent; then it allows no table."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.contenders import plain_faust
from benchmarks.scene import Line, Scene

ABOUT = "plain Faust with concurrency=100 and so without a table; loses what is in flight"
WORKLOADS = ("overhead", "burst", "steady")


def missing() -> str:
    """Nothing is."""
    return ""


@asynccontextmanager
async def serving(scene: Scene) -> AsyncIterator[Line]:
    """One worker process for the time of a block."""
    async with plain_faust.serving_with(scene, concurrency=100) as line:
        yield line
