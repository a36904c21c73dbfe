"""LlamaIndex Workflows: in the caller's own process, nothing survives it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec

from benchmarks.scene import Line, Scene

ABOUT = "LlamaIndex Workflows in process: no broker, nothing survives; caller and worker are one"
WORKLOADS = ("overhead", "burst", "latency", "steady")


def missing() -> str:
    """Return how to get it where it is not there."""
    if find_spec("workflows"):
        return ""
    return (
        "llama-index-workflows is not installed: pip install -r tests/benchmarks/requirements.txt"
    )


@asynccontextmanager
async def serving(scene: Scene) -> AsyncIterator[Line]:
    """This process."""
    # Its steps' length is read when the module is loaded, and only here it may be missing.
    os.environ["BENCH_STEP_SECONDS"] = str(scene.step_seconds)
    program = import_module("benchmarks.programs.llama_joke")
    yield Line(program.run, (os.getpid(),))
