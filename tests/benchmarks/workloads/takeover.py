"""W6: how long work stands still when one of two workers is killed, at default settings."""

import asyncio
import contextlib
import time
from uuid import uuid4

from benchmarks import answers, members
from benchmarks.contenders import fleet_worker
from benchmarks.joke_flow import JokeFlow, StartEvent, Verdict
from benchmarks.scene import Contender, Figures, Scene
from fleet import connect
from fleet.client.connection import Connection
from fleet.records.partitions import partition_of

ABOUT = "W6: 50 runs a second on two workers, one is killed with SIGKILL and does not come back"
STEP_SECONDS = 0.0
PATIENCE_SECONDS = 300
RUNS_PER_SECOND = 50
_SEEN_SECONDS = 60.0
_LOOK_SECONDS = 0.01


class Timeline:
    """Which process finished a run of each partition last, and how long the longest run took."""

    def __init__(self, flow: Connection[Verdict], partitions: int) -> None:
        self._flow = flow
        self._partitions = partitions
        self.process: dict[int, int] = {}
        self.runs = self.wrong = 0
        self.longest_seconds = 0.0

    async def load(self) -> None:
        """Start runs at the steady rate until this is cancelled, then wait for them."""
        async with asyncio.TaskGroup() as going:
            # Not passed on: what was started is to be finished.
            with contextlib.suppress(asyncio.CancelledError):
                while True:
                    going.create_task(self._run())
                    await asyncio.sleep(1 / RUNS_PER_SECOND)

    async def _run(self) -> None:
        run_id, begun = uuid4().hex, time.perf_counter()
        self.runs += 1
        result = await self._flow.run(StartEvent(topic=run_id), run_id=run_id)
        self.wrong += result.verdict != answers.expected(run_id)
        self.process[partition_of(run_id, self._partitions)] = result.worker
        self.longest_seconds = max(self.longest_seconds, time.perf_counter() - begun)

    async def until_finished_by(self, processes: set[int]) -> None:
        """Return when each partition has finished a run, the last of each in one of these."""
        async with asyncio.timeout(_SEEN_SECONDS):
            while not self._are_finished_by(processes):  # noqa: ASYNC110 - as often as a run ends
                await asyncio.sleep(_LOOK_SECONDS)

    def _are_finished_by(self, processes: set[int]) -> bool:
        every = len(self.process) == self._partitions
        return every and set(self.process.values()) == processes


async def measure(contender: Contender, scene: Scene) -> Figures:
    """Return the seconds from the kill until the survivor has finished a run of each partition."""
    settings = fleet_worker.settings(scene)
    with members.started(scene, 2) as workers:
        await members.all_serve(workers, scene.partitions)
        killed, survivor = workers
        async with connect(JokeFlow, settings=settings, timeout=fleet_worker.CALL_SECONDS) as flow:
            timeline = Timeline(flow, scene.partitions)
            loading = asyncio.create_task(timeline.load())
            await timeline.until_finished_by({each.process.pid for each in workers})
            begun = time.perf_counter()
            await asyncio.to_thread(killed.kill)
            await timeline.until_finished_by({survivor.process.pid})
            seconds = time.perf_counter() - begun
            loading.cancel()
            await loading
    return {
        "takeover_s": seconds,
        "longest_run_s": timeline.longest_seconds,
        "runs": timeline.runs,
        "wrong": timeline.wrong,
    }
