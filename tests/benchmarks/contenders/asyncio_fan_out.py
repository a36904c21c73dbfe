"""Bare asyncio that fans out: in the caller's own process, nothing survives it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module

from benchmarks import fan_out
from benchmarks.scene import Line, Scene

ABOUT = "bare asyncio in process: a task for each part, gathered; nothing survives"
WORKLOADS = ("fan_out", "wide")


def missing() -> str:
    """Nothing is."""
    return ""


def in_process(scene: Scene, module: str) -> Line:
    """Return a line of a program in this process."""
    count = int(scene.variables[fan_out.VARIABLE])
    # What it does is read when the module is loaded, and only here it may be missing.
    os.environ |= {"BENCH_STEP_SECONDS": str(scene.step_seconds), fan_out.VARIABLE: str(count)}
    program = import_module(module)
    return Line(program.run, (os.getpid(),), lambda topic: fan_out.expected(topic, count))


@asynccontextmanager
async def serving(scene: Scene) -> AsyncIterator[Line]:
    """This process."""
    yield in_process(scene, "benchmarks.programs.asyncio_fan_out")
