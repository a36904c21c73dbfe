"""
One cell of the fault table: workers, a scripted model, many runs, and one kind of fault.

The runs come at a steady rate and know nothing of the faults. A workflow is driven through the
public API, as an application would; what came of it is read by a bare client.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bare
from aiokafka import ConsumerRecord
from calls import Calls
from crew import Crew
from fault_flow import FaultFlow
from faults import FAULTS
from native import eventually
from scene import PATIENCE_SECONDS, Scene, WorkEnded
from verdict import STEPS, Evidence, Record, Verdict, judge

from fleet import WorkflowHandler, connect
from fleet.client.connection import Connection
from fleet.dev.kafka import Broker
from fleet.dev.llm import ScriptedProcess, start_process

#: How long a run may take. Nothing here takes a tenth of it, so none ends by it.
RUN_SECONDS = 400.0
#: There are at most so many times the runs that were asked for.
MOST = 6


@dataclass(frozen=True, slots=True)
class Cell:
    """What is done."""

    fault: str
    seed: int = 1
    workers: int = 3
    #: At least; there are more where the faults take longer.
    runs: int = 2_000
    #: How often the fault is injected, at even distances of work done.
    times: int = 4
    runs_per_second: float = 40.0
    #: The model answers after a random time between these.
    latency_seconds: tuple[float, float] = (0.2, 1.8)


async def play(cell: Cell, broker: Broker, folder: Path) -> Verdict:
    """Do what *cell* says, its logs and states in *folder*, and judge what came of it."""
    async with _model(cell, folder) as llm:
        crew = Crew(broker, llm, folder)
        try:
            return judge(await _played(cell, crew, Calls(llm)))
        finally:
            crew.stop()


@asynccontextmanager
async def _model(cell: Cell, folder: Path) -> AsyncIterator[ScriptedProcess]:
    least, most = cell.latency_seconds
    llm = start_process(log=folder / "llm.log", latency_seconds=least)
    try:
        llm.change(jitter_seconds=most - least, seed=cell.seed, journal=True)
        yield llm
    finally:
        llm.stop()


async def _played(cell: Cell, crew: Crew, calls: Calls) -> Evidence:
    async with connect(FaultFlow, settings=crew.settings, timeout=RUN_SECONDS) as flow:
        for place in range(cell.workers):
            crew.hire(place)
        await eventually(crew.settled, PATIENCE_SECONDS)
        done = asyncio.Event()
        work = asyncio.create_task(_fed(cell, flow, done))
        scene = Scene(crew, calls, work, cell.seed)
        try:
            await _inject(cell, scene)
            done.set()
            feed = await work
        finally:
            work.cancel()
    await calls.refresh()
    return await _evidence(crew, calls, scene, feed)


async def _inject(cell: Cell, scene: Scene) -> None:
    with suppress(WorkEnded):
        for number in range(cell.times):
            await scene.answered(len(STEPS) * cell.runs * number // cell.times)
            await FAULTS[cell.fault].inject(scene)


@dataclass(frozen=True, slots=True)
class Feed:
    """What was submitted, and what its callers got."""

    topics: dict[str, str]
    got: dict[str, Mapping[str, Any] | str]


async def _fed(cell: Cell, flow: Connection[Any], done: asyncio.Event) -> Feed:
    """Start runs at a steady rate until all faults are *done*, and return once all have ended."""
    topics: dict[str, str] = {}
    handlers = []
    while len(topics) < cell.runs or not (done.is_set() or len(topics) >= MOST * cell.runs):
        run_id = f"run-{len(topics)}"
        topics[run_id] = f"topic {len(topics)} of {cell.seed}"
        handlers.append(flow.run(run_id=run_id, topic=topics[run_id]))
        await asyncio.sleep(1 / cell.runs_per_second)
    return Feed(topics, {each.run_id: await _got(each) for each in handlers})


async def _got(handler: WorkflowHandler[Any]) -> Mapping[str, Any] | str:
    try:
        result: Mapping[str, Any] = (await handler).model_dump()
    except Exception as failure:  # noqa: BLE001 - whatever it is, it is what the caller got
        return repr(failure)
    return result


async def _evidence(crew: Crew, calls: Calls, scene: Scene, feed: Feed) -> Evidence:
    async def records(topic: str) -> list[Record]:
        return [_record(each) for each in await bare.read(crew.bootstrap, topic)]

    return Evidence(
        submitted=feed.topics,
        got=feed.got,
        starts=await records(crew.topic("StartEvent")),
        drafts=await records(crew.topic("Draft")),
        runs=await records(crew.topic("runs")),
        history=await records(crew.topic("history")),
        dead=await records(crew.topic("main.dead")),
        calls=calls.all,
        faults=scene.injected,
        returns=scene.returns,
    )


def _record(record: ConsumerRecord[bytes, bytes]) -> Record:
    return Record(
        run_id=bare.run_id(record),
        type=bare.header(record, "fleet-type"),
        partition=record.partition,
        at=record.timestamp / 1000,
        value=json.loads(record.value or b"{}"),
    )
