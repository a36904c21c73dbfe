"""
W12: a million runs that sleep, and a worker that comes to them.

The runs are appended to the state topic of a worker that has stopped, as the engine writes them:
four entries each. Most are due tomorrow. Some became due while no worker ran, the last ten minutes,
and others become due one after the other while it runs: what its history says of those tells how
late each is. Every run that is due has to complete once.
"""

import asyncio
import shutil
import time
from collections.abc import Iterator

import bare
from aiokafka import AIOKafkaProducer
from native import eventually

from benchmarks import load, members, usage
from benchmarks.contenders import fleet_nap
from benchmarks.nap_flow import NapFlow
from benchmarks.scene import Contender, Figures, Scene
from fleet.engine.transitions import journal, timed
from fleet.engine.transitions.draft import Draft, Work
from fleet.engine.transitions.runs import Run
from fleet.engine.transitions.timed import Due
from fleet.records import state
from fleet.records.calls import Call
from fleet.records.envelope import Envelope
from fleet.records.events import StartEvent, encoded
from fleet.records.lifecycle import RETURNED, StepRecord
from fleet.records.log import Delivered
from fleet.records.partitions import partition_of
from fleet.records.state import MemoryState, Overlay
from fleet.records.topics import Topics
from fleet.workflow import definition

ABOUT = "W12: a start over 1,000,000 sleeping runs; 20,000 are due, 5,000 become due in 60 s"
STEP_SECONDS = 0.0
PATIENCE_SECONDS = 1_200
RUNS, OVERDUE, SOON = 1_000_000, 20_000, 5_000
#: For how long no worker ran, and how long some take to become due one after the other, in seconds.
DOWN_SECONDS, SPREAD_SECONDS = 600, 60
#: Until the first of those is due, from the begin of the worker that runs them, in seconds.
LEAD_SECONDS = 60
_DAY_MS = 86_400_000
_RUNS_PER_TRANSACTION = 2_000
_TOPICS_OF = NapFlow.workflow_name, NapFlow.group_name


async def measure(contender: Contender, scene: Scene) -> Figures:
    """Return starts, memory, and how late the runs were that became due."""
    found: Figures = {"runs": 0, "wrong": 0}
    await _start(scene, found, "empty")
    runs, overdue, soon = (scene.count(each) for each in (RUNS, OVERDUE, SOON))
    now_ms = time.time_ns() // 1_000_000
    await _append(scene, 0, (now_ms + _DAY_MS + each for each in range(runs)))
    # A new folder: it reads the changelog. Then it has the entries.
    shutil.rmtree(scene.folder / "worker")
    await _start(scene, found, "new")
    await _start(scene, found, "kept")
    now_ms = time.time_ns() // 1_000_000
    began_ms = now_ms - DOWN_SECONDS * 1_000
    late = [began_ms + each * DOWN_SECONDS * 1_000 // overdue for each in range(overdue)]
    first_ms = now_ms + LEAD_SECONDS * 1_000
    coming = [first_ms + each * SPREAD_SECONDS * 1_000 // soon for each in range(soon)]
    await _append(scene, runs, iter(late + coming))
    await _start(scene, found, "due", until=overdue + soon)
    return {**found, **await _lateness(scene, coming)}


async def _start(scene: Scene, found: Figures, kind: str, until: int = 0) -> None:
    """Start a worker, do a run, and stop it; before that let *until* sleepers end."""
    begun = time.perf_counter()
    worker = fleet_nap.start(scene)
    try:
        await members.all_serve([worker], scene.partitions)
        found[f"start_s_{kind}"] = time.perf_counter() - begun
        async with fleet_nap.calling(scene, worker) as line, asyncio.timeout(load.READY_SECONDS):
            found["wrong"] += await load.one(line, f"after the start {kind}")
            found["runs"] += 1
        if until:
            found["due_s"] = await _all_ended(scene, until, begun)
        found[f"peak_mib_{kind}"] = usage.of([worker.process.pid]).peak_mib
        await asyncio.to_thread(worker.terminate)
    finally:
        worker.stop()


async def _all_ended(scene: Scene, count: int, begun: float) -> float:
    """Return when so many sleepers have ended, in seconds from the begin of the worker."""

    async def have() -> bool:
        return len(await _history(scene)) >= count

    await eventually(have, load.READY_SECONDS + LEAD_SECONDS + SPREAD_SECONDS)
    return time.perf_counter() - begun


async def _history(scene: Scene) -> dict[str, StepRecord]:
    """Return the attempts of sleepers, by run; each may have one."""
    found = {}
    for record in await bare.read(scene.bootstrap, Topics(scene.prefix, *_TOPICS_OF).history):
        run_id = (record.key or b"").decode()
        if run_id.startswith("sleeper"):
            assert run_id not in found, f"{run_id} has run twice"
            found[run_id] = StepRecord.decode(record.value or b"")
            assert found[run_id].outcome == RETURNED
    return found


async def _lateness(scene: Scene, coming: list[int]) -> Figures:
    """Return how late those were that became due while the worker ran, in milliseconds."""
    runs, overdue = scene.count(RUNS), scene.count(OVERDUE)
    history = await _history(scene)
    late = sorted(
        history[_run_id(runs + overdue + number)].started * 1_000 - due_ms
        for number, due_ms in enumerate(coming)
    )
    at = {f"late_ms_p{share}": late[len(late) * share // 100] for share in (50, 99)}
    return {**at, "early": float(sum(one < 0 for one in late))}


# -- what the engine would have written -----------------------------------------------------------


async def _append(scene: Scene, first: int, due: Iterator[int]) -> None:
    topic = Topics(scene.prefix, *_TOPICS_OF).state
    producer = AIOKafkaProducer(
        bootstrap_servers=scene.bootstrap,
        transactional_id=f"{scene.prefix}.filler",
        compression_type="lz4",
        linger_ms=20,
    )
    await producer.start()
    try:
        number = first
        while chunk := [each for _, each in zip(range(_RUNS_PER_TRANSACTION), due, strict=False)]:
            async with producer.transaction():
                sent = []
                for due_ms in chunk:
                    partition = partition_of(_run_id(number), scene.partitions)
                    for key, value in _entries(scene, number, due_ms).items():
                        sent.append(await producer.send(topic, value, key, partition))
                    number += 1
                await asyncio.gather(*sent)
    finally:
        await producer.stop()


def _entries(scene: Scene, number: int, due_ms: int) -> dict[bytes, bytes | None]:
    """Return the entries of a run that sleeps until *due_ms*."""
    draft, since_ms = Draft(Overlay(MemoryState())), due_ms - _DAY_MS
    envelope = Envelope(run_id=_run_id(number), event_id=f"{number:024x}", type="StartEvent")
    run = Run(start_event_id=envelope.event_id, fingerprint=f"{number:032x}", seen_ms=since_ms)
    draft.state.put(state.run_key(envelope.run_id), run.encode())
    event = StartEvent(seconds=_DAY_MS // 1_000)
    record = Delivered(
        topic=Topics(scene.prefix, *_TOPICS_OF).event("StartEvent"),
        partition=0,
        offset=-1,
        appended_ms=since_ms,
        key=envelope.run_id.encode(),
        value=encoded(event),
        headers=envelope.headers(),
    )
    step = definition.graph(NapFlow).step_by_name["nap"]
    work = Work(record, envelope, event, step)
    noted = {journal.key(work, Call("sleep", "1")): b"%d" % due_ms}
    timed.suspend(draft, work, Due(due_ms, None, noted), since_ms)
    return dict(draft.state.changes)


def _run_id(number: int) -> str:
    return f"sleeper-{number:07d}"
