"""Processes of contenders: environment, start, and what they said when they failed."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.scene import Scene

_TESTS = Path(__file__).resolve().parents[1]
#: Where programs find these modules and those that they share with the tests.
PYTHONPATH = os.pathsep.join([str(_TESTS), str(_TESTS / "support")])
_STOP_SECONDS = 10


def variables(scene: Scene) -> dict[str, str]:
    """Return what every program reads."""
    return {
        "PYTHONPATH": PYTHONPATH,
        "BENCH_BOOTSTRAP": scene.bootstrap,
        "BENCH_PREFIX": scene.prefix,
        "BENCH_STEP_SECONDS": str(scene.step_seconds),
        "BENCH_PARTITIONS": str(scene.partitions),
        "BENCH_FOLDER": str(scene.folder),
        **scene.variables,
    }


@asynccontextmanager
async def program(scene: Scene, module: str) -> AsyncIterator[int]:
    """Run `python -m module` for the time of a block; gives its process id."""
    with (scene.folder / f"{module}.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            env={**os.environ, **variables(scene)},
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=scene.folder,
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def said(folder: Path, lines: int = 15) -> str:
    """Return the last lines of every log under a folder."""
    logs = sorted(folder.glob("*.log"))
    return "\n".join(
        "\n".join([f"-- {log.name}", *log.read_text(errors="replace").splitlines()[-lines:]])
        for log in logs
    )
