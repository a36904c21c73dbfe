"""W11: one run with very many branches: time, memory, records, and what of it stays."""

from dataclasses import replace

from benchmarks import fan_out, load
from benchmarks.scene import Contender, Figures, Line, Scene

ABOUT = "W11: one run of 10,000 branches of 0.1 s each and a join; ideal is 0.1 s"
STEP_SECONDS = 0.1
PATIENCE_SECONDS = 3_600
BRANCHES = 10_000
_WARM_UP_BRANCHES = 10


async def measure(contender: Contender, scene: Scene) -> Figures:
    """Return the run's time, and by topic the records that it wrote."""
    branches = scene.count(BRANCHES)
    more = {fan_out.VARIABLE: str(branches), "FLEET_SLOTS": str(branches)}
    async with contender.serving(replace(scene, variables={**scene.variables, **more})) as line:
        warm, wide = fan_out.of(_WARM_UP_BRANCHES, "warm"), fan_out.of(branches, "wide")
        await load.one(line, warm)
        before = await line.written()
        found = await load.measured(line, 1, lambda: load.one(line, wide), scene.broker_pid)
        return {**found, "branches": branches, **await _written_since(line, before)}


async def _written_since(line: Line, before: Figures) -> Figures:
    after = await line.written()
    counted = {f"{name}_records": after[name] - before[name] for name in after}
    total = {"all_records": sum(counted.values())} if counted else {}
    return {**counted, **total, **await line.left()}
