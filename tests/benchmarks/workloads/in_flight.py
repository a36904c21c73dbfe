"""W9: how much memory many steps in flight take."""

from dataclasses import replace

from benchmarks import load
from benchmarks.scene import Contender, Figures, Scene

ABOUT = "W9: 10,000 runs at once on one worker of 10,000 slots, two steps of 5 s each"
STEP_SECONDS = 5.0
PATIENCE_SECONDS = 300
RUNS = 10_000
_WARM_UP_RUNS = 10


async def measure(contender: Contender, scene: Scene) -> Figures:
    """Return the peak memory and the makespan, ideally 10 s."""
    runs = scene.count(RUNS)
    roomy = replace(scene, variables={**scene.variables, "FLEET_SLOTS": str(RUNS)})
    async with contender.serving(roomy) as line:
        await load.ready(line, _WARM_UP_RUNS)
        return await load.measured(line, runs, lambda: load.at_once(line, runs), scene.broker_pid)
