"""W7: the burst through the real openai client, against a scripted model that takes 1 s."""

from benchmarks import load
from benchmarks.scene import Contender, Figures, Scene

ABOUT = "W7: 2,000 runs at once, two calls of the scripted model each, which takes 1 s"
STEP_SECONDS = 1.0
PATIENCE_SECONDS = 600
RUNS = 2_000
_WARM_UP_RUNS = 10


async def measure(contender: Contender, scene: Scene) -> Figures:
    """Return the makespan as `wall_s`, and what it cost."""
    runs = scene.count(RUNS)
    async with contender.serving(scene) as line:
        await load.ready(line, _WARM_UP_RUNS)
        return await load.measured(line, runs, lambda: load.at_once(line, runs), scene.broker_pid)
