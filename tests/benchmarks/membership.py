"""
For how long work stands still when a worker ends: dynamic and static membership beside each other.

    python tests/benchmarks/membership.py [--rounds 3] [--session 6] [--case NAME] [--broker URL]

Starts an embedded broker (or uses the given one) and real workers, sends runs at a steady rate, and
ends workers in several ways. A number is the longest time in which one partition, the worst one,
finished no run: of the partitions of the worker that ended, and of those of the others. At the
steady rate a partition finishes a run every 0.16 seconds on average, so below some 0.5 seconds
nothing can be told. Prints a table in Markdown with the median of all rounds, and the largest. No
test asserts on these numbers: machines differ.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from who_flow import WhoFlow
from workers import WorkerProcess

from fleet import connect
from fleet.client.connection import Connection
from fleet.config.settings import Settings
from fleet.dev import kafka
from fleet.records.partitions import partition_of

PARTITIONS = 8
RUNS_PER_SECOND = 50
#: After the last worker has come back, for so long it is watched on, in seconds.
WATCHED_SECONDS = 5.0
#: A case that takes longer is given up, in seconds.
PATIENCE_SECONDS = 90.0


class Timeline:
    """When each partition finished runs, and in which process."""

    def __init__(self) -> None:
        self.finished: dict[int, list[float]] = defaultdict(list)
        self.process: dict[int, int] = {}

    def note(self, partition: int, process: int) -> None:
        self.finished[partition].append(time.monotonic())
        self.process[partition] = process

    def of(self, process: int) -> set[int]:
        return {partition for partition, each in self.process.items() if each == process}

    def all_since(self, moment: float) -> bool:
        every = (self.finished[each] for each in range(PARTITIONS))
        return all(times and times[-1] > moment for times in every)

    def longest(self, partitions: set[int], since: float, until: float) -> float:
        return max((self._gap(each, since, until) for each in partitions), default=0.0)

    def _gap(self, partition: int, since: float, until: float) -> float:
        inside = [each for each in self.finished[partition] if since < each < until]
        times = [since, *inside, until]
        return max(after - before for before, after in pairwise(times))


async def until(reached: Callable[[], bool]) -> None:
    while not reached():  # noqa: ASYNC110 - seen from outside: there is nobody to set an event
        await asyncio.sleep(0.05)


class Scene:
    """Workers on a prefix of their own, with a steady load."""

    def __init__(self, broker: str, folder: Path, *, static: bool, session: float) -> None:
        self.prefix = f"bench{uuid4().hex[:8]}"
        self.folder = folder / self.prefix
        self.folder.mkdir()
        self.broker = broker
        self.static = static
        self.session = session
        self.timeline = Timeline()
        self.workers: dict[str, WorkerProcess] = {}
        self._runs: set[asyncio.Task[None]] = set()

    def start(self, name: str) -> WorkerProcess:
        variables = {"FLEET_INSTANCE_ID": name} if self.static else {}
        self.workers[name] = WorkerProcess(
            "who_flow",
            self.folder / f"{name}.log",
            FLEET_BROKER=self.broker,
            FLEET_PREFIX=self.prefix,
            FLEET_DATA_DIR=str(self.folder),
            FLEET_PARTITIONS=str(PARTITIONS),
            FLEET_SESSION_SECONDS=str(self.session),
            **variables,
        )
        return self.workers[name]

    def pid(self, name: str) -> int:
        return self.workers[name].process.pid

    async def load(self, flow: Connection) -> None:
        while True:
            run_id = uuid4().hex
            running = asyncio.create_task(self._run(flow, run_id))
            self._runs.add(running)
            running.add_done_callback(self._runs.discard)
            await asyncio.sleep(1 / RUNS_PER_SECOND)

    async def _run(self, flow: Connection, run_id: str) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            process = await flow.run(topic="who", run_id=run_id)
            self.timeline.note(partition_of(run_id, PARTITIONS), process)

    async def all_work(self) -> None:
        """Return when every worker has finished runs, and then every partition once more."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await until(lambda: all(self.timeline.of(self.pid(name)) for name in self.workers))
            await self.all_finish()

    async def all_finish(self) -> None:
        """Return when every partition has finished one more run."""
        now = time.monotonic()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await until(lambda: self.timeline.all_since(now))

    def stop(self) -> None:
        for worker in self.workers.values():
            worker.stop()
        for running in list(self._runs):
            running.cancel()


Fault = Callable[[Scene], Awaitable[None]]


async def kill_and_return(scene: Scene) -> None:
    await asyncio.to_thread(scene.workers["w0"].kill)
    scene.start("w0")
    await scene.all_work()


async def kill_for_good(scene: Scene) -> None:
    await asyncio.to_thread(scene.workers["w0"].kill)
    await scene.all_finish()


async def stop_and_return(scene: Scene) -> None:
    await asyncio.to_thread(scene.workers["w0"].terminate)
    scene.start("w0")
    await scene.all_work()


async def stop_for_good(scene: Scene) -> None:
    await asyncio.to_thread(scene.workers["w0"].terminate)
    await scene.all_finish()


async def roll(scene: Scene) -> None:
    for name in list(scene.workers):
        await asyncio.to_thread(scene.workers[name].terminate)
        scene.start(name)
        await scene.all_work()


CASES: dict[str, tuple[Fault, int]] = {
    "kill -9, started again at once": (kill_and_return, 2),
    "kill -9, never started again": (kill_for_good, 2),
    "SIGTERM, started again": (stop_and_return, 2),
    "SIGTERM, never started again": (stop_for_good, 2),
    "rolling restart of 3": (roll, 3),
}


async def measure(scene: Scene, fault: Fault, workers: int) -> tuple[float, float]:
    """Return the longest standstill of the ended worker's partitions and of the others'."""
    settings = Settings(broker=scene.broker, prefix=scene.prefix, data_dir=scene.folder)
    for number in range(workers):
        scene.start(f"w{number}")
    async with connect(WhoFlow, settings=settings, timeout=300) as flow:
        loading = asyncio.create_task(scene.load(flow))
        try:
            await scene.all_work()
            # Joining one after the other is a rebalance each.
            await asyncio.sleep(WATCHED_SECONDS)
            await scene.all_work()
            ended = scene.timeline.of(scene.pid("w0"))
            began = time.monotonic()
            await fault(scene)
            await asyncio.sleep(WATCHED_SECONDS)
            until = time.monotonic()
        finally:
            loading.cancel()
            scene.stop()
    others = set(range(PARTITIONS)) - ended
    longest = scene.timeline.longest
    return longest(ended, began, until), longest(others, began, until)


def shown(seconds: list[float]) -> str:
    return f"{median(seconds):.1f} (≤ {max(seconds):.1f})"


@contextlib.contextmanager
def broker_at(address: str | None) -> Iterator[str]:
    if address:
        yield address
        return
    with kafka.embedded() as broker:
        yield broker.address


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--session", type=float, default=6)
    parser.add_argument("--case", default="", help="only cases whose name contains this")
    parser.add_argument("--broker")
    chosen = parser.parse_args()
    sys.stdout.write(
        "| | dynamic: its partitions | dynamic: the others' "
        "| static: its partitions | static: the others' |\n|---|---|---|---|---|\n"
    )
    with tempfile.TemporaryDirectory() as name, broker_at(chosen.broker) as broker:
        for case, (fault, workers) in CASES.items():
            if chosen.case in case:
                cells = []
                for static in (False, True):
                    results = []
                    for _ in range(chosen.rounds):
                        scene = Scene(broker, Path(name), static=static, session=chosen.session)
                        results.append(asyncio.run(measure(scene, fault, workers)))
                    cells += [shown([each[number] for each in results]) for number in (0, 1)]
                sys.stdout.write(f"| {case} | {' | '.join(cells)} |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
