"""Fleet whose steps show tokens: one worker process, called by `connect`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.contenders import fleet_worker
from benchmarks.scene import Line, Scene
from benchmarks.stream_flow import StreamFlow
from fleet import StartEvent, connect
from fleet.client.connection import Connection

ABOUT = "one Fleet worker whose steps show tokens; a caller that reads the streams"
WORKLOADS = ("streams",)


def missing() -> str:
    """Nothing is."""
    return ""


def connection(scene: Scene) -> Connection[object]:
    """Return a connection to enter."""
    settings, seconds = fleet_worker.settings(scene), fleet_worker.CALL_SECONDS
    return connect(StreamFlow, settings=settings, timeout=seconds)


@asynccontextmanager
async def serving(scene: Scene) -> AsyncIterator[Line]:
    """One worker for the time of a block."""
    worker = fleet_worker.start(scene, module="benchmarks.programs.fleet_stream")
    try:
        async with connection(scene) as flow:

            async def run(topic: str) -> str:
                return f"{topic} {await flow.run(StartEvent(topic=topic))}"

            yield Line(run, (worker.process.pid,), lambda topic: f"{topic} 1")
    finally:
        worker.stop()
