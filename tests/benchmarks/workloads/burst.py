"""W1: many runs at once whose steps wait; the ideal is the time of one run."""

from benchmarks import load
from benchmarks.scene import Contender, Figures, Scene

ABOUT = "W1: 2,000 runs at once, two steps of 1 s each; ideal is 2.0 s"
STEP_SECONDS = 1.0
PATIENCE_SECONDS = 300
RUNS = 2_000


async def measure(contender: Contender, scene: Scene) -> Figures:
    """Return the makespan as `wall_s`, and the peak memory."""
    runs = scene.count(RUNS)
    async with contender.serving(scene) as line:
        await load.ready(line)
        return await load.measured(line, runs, lambda: load.at_once(line, runs), scene.broker_pid)
