"""LlamaIndex Workflows that fan out: in the caller's own process, nothing survives it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.contenders import asyncio_fan_out, llama
from benchmarks.scene import Line, Scene

ABOUT = "LlamaIndex Workflows in process, with its own list and its own join; nothing survives"
WORKLOADS = ("fan_out", "wide")
missing = llama.missing


@asynccontextmanager
async def serving(scene: Scene) -> AsyncIterator[Line]:
    """This process."""
    yield asyncio_fan_out.in_process(scene, "benchmarks.programs.llama_fan_out")
