"""Fleet whose steps fan out and join: one worker process, called by `connect`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks import fan_out, kept
from benchmarks.contenders import fleet_worker
from benchmarks.fan_out_flow import FanOutFlow, StartEvent
from benchmarks.scene import Line, Scene
from fleet import connect
from fleet.records.topics import Topics

ABOUT = "one Fleet worker whose steps return lists and join them, everything committed"
WORKLOADS = ("fan_out", "wide")


def missing() -> str:
    """Nothing is."""
    return ""


@asynccontextmanager
async def serving(scene: Scene) -> AsyncIterator[Line]:
    """One worker for the time of a block."""
    count = int(scene.variables[fan_out.VARIABLE])
    worker = fleet_worker.start(scene, module="benchmarks.programs.fleet_fan_out")
    settings, seconds = fleet_worker.settings(scene), fleet_worker.CALL_SECONDS
    topics = Topics(scene.prefix, FanOutFlow.workflow_name, FanOutFlow.group_name)
    try:
        async with connect(FanOutFlow, settings=settings, timeout=seconds) as flow:

            async def run(topic: str) -> str:
                return str(await flow.run(StartEvent(topic=topic)))

            yield Line(
                run,
                (worker.process.pid,),
                lambda topic: fan_out.expected(topic, count),
                written=lambda: kept.written(scene.bootstrap, topics, FanOutFlow),
                left=lambda: kept.left(scene.bootstrap, topics),
            )
    finally:
        worker.stop()
