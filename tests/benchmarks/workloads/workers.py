"""W4: what a second and a third worker bring where slots are the limit."""

from dataclasses import replace

from benchmarks import load, members
from benchmarks.contenders import fleet_worker
from benchmarks.scene import Contender, Figures, Scene

ABOUT = "W4: 1,200 runs, two steps of 0.2 s each, on 1, 2 and 3 workers of 50 slots"
STEP_SECONDS = 0.2
PATIENCE_SECONDS = 300
RUNS = 1_200
SLOTS = 50
#: Divisible by 2 and by 3: each worker has its share.
PARTITIONS = 12


async def measure(contender: Contender, scene: Scene) -> Figures:
    """Return the makespan per number of workers, and the speed-up over one."""
    found: Figures = {"runs": 0, "wrong": 0}
    for count in (1, 2, 3):
        figures = await _with(scene, count)
        found["runs"] += figures["runs"]
        found["wrong"] += figures["wrong"]
        found[f"wall_s_{count}"] = figures["wall_s"]
        found[f"speed_up_{count}"] = found["wall_s_1"] / figures["wall_s"]
    return found


async def _with(scene: Scene, count: int) -> Figures:
    alone = replace(
        scene,
        prefix=f"{scene.prefix}x{count}",
        folder=scene.folder / f"x{count}",
        partitions=PARTITIONS,
        variables={**scene.variables, "FLEET_SLOTS": str(SLOTS)},
    )
    alone.folder.mkdir()
    runs = scene.count(RUNS)
    with members.started(alone, count) as workers:
        async with fleet_worker.calling(alone, *workers) as line:
            await load.ready(line)
            await members.all_serve(workers, PARTITIONS)
            return await load.measured(line, runs, lambda: load.at_once(line, runs))
