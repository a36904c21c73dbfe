"""W8: what a run costs and takes at a load far below the limit, where commits are small."""

import asyncio
import time

from benchmarks import load
from benchmarks.scene import Contender, Figures, Line, Scene

ABOUT = "W8: 200 runs of instant steps a second, evenly, for 30 s"
STEP_SECONDS = 0.0
PATIENCE_SECONDS = 300
RUNS = 6_000
RUNS_PER_SECOND = 200


async def measure(contender: Contender, scene: Scene) -> Figures:
    """Return percentiles of a run's time, from when it was due, and CPU per run."""
    runs = scene.count(RUNS)
    seconds: list[float] = []
    async with contender.serving(scene) as line:
        await load.ready(line)
        figures = await load.measured(
            line, runs, lambda: evenly(line, runs, seconds), scene.broker_pid
        )
    return {**load.percentiles(seconds), **figures}


async def evenly(line: Line, runs: int, seconds: list[float]) -> int:
    """Start runs at the rate whatever becomes of them; return how many results were wrong."""
    begun = time.perf_counter()

    async def one(number: int) -> bool:
        due = begun + number / RUNS_PER_SECOND
        await asyncio.sleep(due - time.perf_counter())
        wrong = await load.one(line, str(number))
        # From when it was due: a caller that is late would hide what it waited for.
        seconds.append(time.perf_counter() - due)
        return wrong

    return sum(await asyncio.gather(*(one(number) for number in range(runs))))
