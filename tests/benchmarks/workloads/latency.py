"""W2: how long one run takes that is alone."""

import time

from benchmarks import load
from benchmarks.scene import Contender, Figures, Scene

ABOUT = "W2: one run of instant steps at a time, 300 of them"
STEP_SECONDS = 0.0
PATIENCE_SECONDS = 300
RUNS = 300


async def measure(contender: Contender, scene: Scene) -> Figures:
    """Return percentiles of a run's time in milliseconds."""
    runs = scene.count(RUNS)
    seconds: list[float] = []
    async with contender.serving(scene) as line:
        await load.ready(line)

        async def one_by_one() -> int:
            wrong = 0
            for each in range(runs):
                begun = time.perf_counter()
                wrong += await load.one(line, str(each))
                seconds.append(time.perf_counter() - begun)
            return wrong

        figures = await load.measured(line, runs, one_by_one, scene.broker_pid)
    return {**load.percentiles(seconds), **figures}
