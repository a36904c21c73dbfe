"""Fleet with its worker on uvloop; the caller stays on asyncio's own loop."""

from contextlib import AbstractAsyncContextManager
from importlib.util import find_spec

from benchmarks.contenders import fleet_worker
from benchmarks.scene import Line, Scene

ABOUT = "`fleet` with its worker on uvloop: `faust --loop uvloop`"
WORKLOADS = ("overhead", "burst", "latency", "steady")


def missing() -> str:
    """Return how to get it where it is not there."""
    return "" if find_spec("uvloop") else "uvloop is not installed: pip install -e '.[uvloop]'"


def serving(scene: Scene) -> AbstractAsyncContextManager[Line]:
    """One worker for the time of a block."""
    return fleet_worker.serving(scene, loop="uvloop")
