"""W0: what a run costs when its steps take no time."""

from benchmarks import load
from benchmarks.scene import Contender, Figures, Scene

ABOUT = "W0: 5,000 runs of instant steps, at most 1,000 outstanding"
STEP_SECONDS = 0.0
PATIENCE_SECONDS = 300
RUNS = 5_000
OUTSTANDING = 1_000


async def measure(contender: Contender, scene: Scene) -> Figures:
    """Return runs per second and CPU per run."""
    runs = scene.count(RUNS)
    async with contender.serving(scene) as line:
        await load.ready(line)
        return await load.measured(
            line,
            runs,
            lambda: load.outstanding(line, runs, scene.count(OUTSTANDING)),
            scene.broker_pid,
        )
