"""Fleet: a worker process, and a caller by `connect`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from workers import WorkerProcess

from benchmarks import processes
from benchmarks.joke_flow import JokeFlow, StartEvent
from benchmarks.scene import Line, Scene
from fleet import connect
from fleet.client.connection import Connection
from fleet.config.settings import Settings

ABOUT = (
    "one Fleet worker process, everything committed: events, results, context; called by `connect`"
)
WORKLOADS = (
    "overhead",
    "burst",
    "latency",
    "growth",
    "workers",
    "loading",
    "takeover",
    "steady",
    "in_flight",
)
CALL_SECONDS = 600.0


def missing() -> str:
    """Nothing is."""
    return ""


def settings(scene: Scene) -> Settings:
    """Return what worker and caller share."""
    return Settings(
        broker=f"kafka://{scene.bootstrap}",
        prefix=scene.prefix,
        data_dir=scene.folder,
        partitions=scene.partitions,
    )


def start(
    scene: Scene,
    name: str = "worker",
    module: str = "benchmarks.programs.fleet_joke",
    loop: str = "aio",
) -> WorkerProcess:
    """Start a worker; *name* tells its log and its data folder from others'."""
    shared = settings(scene)
    return WorkerProcess(
        module,
        scene.folder / f"{name}.log",
        loop,
        FLEET_BROKER=shared.broker,
        FLEET_PREFIX=shared.prefix,
        FLEET_DATA_DIR=str(scene.folder / name),
        FLEET_PARTITIONS=str(shared.partitions),
        **processes.variables(scene),
    )


async def verdict(flow: Connection[object], topic: str) -> str:
    """Do one run."""
    result = await flow.run(StartEvent(topic=topic))
    return str(getattr(result, "verdict", result))


@asynccontextmanager
async def calling(scene: Scene, *workers: WorkerProcess) -> AsyncIterator[Line]:
    """Call workers that were started."""
    async with connect(JokeFlow, settings=settings(scene), timeout=CALL_SECONDS) as flow:
        yield Line(lambda topic: verdict(flow, topic), tuple(each.process.pid for each in workers))


@asynccontextmanager
async def serving(scene: Scene, loop: str = "aio") -> AsyncIterator[Line]:
    """One worker for the time of a block."""
    worker = start(scene, loop=loop)
    try:
        async with calling(scene, worker) as line:
            yield line
    finally:
        worker.stop()
