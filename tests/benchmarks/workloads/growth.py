"""W3: whether the hundred thousandth run costs what the thousandth did."""

from functools import partial

from benchmarks import load, usage
from benchmarks.scene import Contender, Figures, Scene

ABOUT = "W3: 1,000, then 10,000, then 100,000 runs of instant steps on one worker"
STEP_SECONDS = 0.0
PATIENCE_SECONDS = 1_800
STAGES = {"1k": 1_000, "10k": 10_000, "100k": 100_000}
OUTSTANDING = 1_000


async def measure(contender: Contender, scene: Scene) -> Figures:
    """Return, for each stage, CPU per run, the peak memory and what is on disk."""
    found: Figures = {"runs": 0, "wrong": 0}
    async with contender.serving(scene) as line:
        await load.ready(line)
        for name, full in STAGES.items():
            runs = scene.count(full)
            figures = await load.measured(
                line, runs, partial(load.outstanding, line, runs, scene.count(OUTSTANDING))
            )
            found["runs"] += runs
            found["wrong"] += figures["wrong"]
            found[f"worker_cpu_ms_per_run_{name}"] = figures["worker_cpu_ms_per_run"]
            found[f"worker_peak_mib_{name}"] = figures["worker_peak_mib"]
            found[f"disk_mib_{name}"] = usage.folder_mib(scene.folder)
    return found
