"""Fleet whose steps sleep: one worker process, called by `connect`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from workers import WorkerProcess

from benchmarks.contenders import fleet_worker
from benchmarks.nap_flow import NapFlow
from benchmarks.scene import Line, Scene
from fleet import StartEvent, connect

ABOUT = "one Fleet worker whose steps sleep, everything committed"
WORKLOADS = ("sleeping",)


def missing() -> str:
    """Nothing is."""
    return ""


def start(scene: Scene) -> WorkerProcess:
    """Start a worker over the folder of the one before."""
    return fleet_worker.start(scene, module="benchmarks.programs.fleet_nap")


@asynccontextmanager
async def calling(scene: Scene, worker: WorkerProcess) -> AsyncIterator[Line]:
    """Call a worker that was started."""
    settings, seconds = fleet_worker.settings(scene), fleet_worker.CALL_SECONDS
    async with connect(NapFlow, settings=settings, timeout=seconds) as flow:

        async def run(topic: str) -> str:
            return f"{topic} {await flow.run(StartEvent(topic=topic))}"

        yield Line(run, (worker.process.pid,), lambda topic: f"{topic} 1")


@asynccontextmanager
async def serving(scene: Scene) -> AsyncIterator[Line]:
    """One worker for the time of a block."""
    worker = start(scene)
    try:
        async with calling(scene, worker) as line:
            yield line
    finally:
        worker.stop()
