"""W10: runs that fan out, and the join of their branches."""

from dataclasses import replace

from benchmarks import fan_out, load
from benchmarks.scene import Contender, Figures, Scene

ABOUT = "W10: 100 runs at once of 100 branches of 0.1 s each and a join; ideal is 0.1 s"
STEP_SECONDS = 0.1
PATIENCE_SECONDS = 300
RUNS = 100
BRANCHES = 100
_WARM_UP_RUNS = 5


async def measure(contender: Contender, scene: Scene) -> Figures:
    """Return the makespan as `wall_s`, and what a branch cost."""
    runs = scene.count(RUNS)
    # All branches of all runs may be under way at once.
    more = {fan_out.VARIABLE: str(BRANCHES), "FLEET_SLOTS": str(RUNS * BRANCHES)}
    roomy = replace(scene, variables={**scene.variables, **more})
    async with contender.serving(roomy) as line:
        await load.ready(line, _WARM_UP_RUNS)
        found = await load.measured(line, runs, lambda: load.at_once(line, runs), scene.broker_pid)
    return {**found, "branches_per_s": runs * BRANCHES / found["wall_s"]}
