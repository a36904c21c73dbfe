"""
One measurement: one contender on one workload, in a process of its own.

    python -m benchmarks.cell --workload W0 --contender fleet --bootstrap HOST:PORT --folder DIR

So no measurement pays for another's memory, and whatever is left when it ends is ended with it.
Prints the figures as one line of JSON.
"""

import argparse
import asyncio
import json
import logging
import signal
import sys
from pathlib import Path
from uuid import uuid4

from benchmarks import bound, catalogue, processes
from benchmarks.scene import Figures, Scene


async def measured(workload: str, contender: str, scene: Scene) -> Figures:
    """Do it; SIGTERM and the alarm of `bound` end it in order."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGALRM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await catalogue.workload(workload).measure(catalogue.contender(contender), scene)


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", required=True, choices=catalogue.WORKLOADS)
    parser.add_argument("--contender", required=True, choices=catalogue.CONTENDERS)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--broker-pid", type=int, default=0)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    chosen = parser.parse_args()
    bound.begin()
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    scene = Scene(
        bootstrap=chosen.bootstrap,
        broker_pid=chosen.broker_pid,
        folder=chosen.folder,
        prefix=f"bench{uuid4().hex[:8]}",
        scale=chosen.scale,
        step_seconds=catalogue.workload(chosen.workload).STEP_SECONDS,
    )
    try:
        figures = asyncio.run(measured(chosen.workload, chosen.contender, scene))
    except BaseException:
        sys.stderr.write(f"{processes.said(scene.folder)}\n")
        raise
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
