"""
Histories by hand: `python tests/simulation/run.py --seeds 0-100000`, `--seed 7` for one's trace.

Prints how many held; the first that did not is shown whole.
"""

import argparse
import logging
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from simulation.blocks import Block, run_block
from simulation.history import simulate

BLOCK = 250


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="show the history of this seed")
    parser.add_argument("--seeds", default="0-1000", help="run these: FIRST-LAST, without LAST")
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    logging.disable()
    if chosen.seed is not None:
        verdict = simulate(chosen.seed)
        _say(verdict)
        return bool(verdict.violations)
    first, last = map(int, chosen.seeds.split("-"))
    return _run_all(range(first, last, BLOCK), last, chosen.jobs)


def _run_all(firsts: range, last: int, jobs: int) -> int:
    began, every = time.monotonic(), Block()
    with ProcessPoolExecutor(jobs) as pool:
        counts = [min(BLOCK, last - first) for first in firsts]
        for block in pool.map(run_block, firsts, counts):
            every.histories += block.histories
            every.callbacks += block.callbacks
            every.attempts += block.attempts
            every.killed += block.killed
            every.broken |= block.broken
            for seed, violated in block.broken.items():
                _say(f"seed {seed}: {violated}")
            if every.histories % (20 * BLOCK) == 0:
                _say(_told(every, began))
    _say(_told(every, began))
    if every.first_broken is not None:
        _say(simulate(every.first_broken))
    return bool(every.broken)


def _told(block: Block, began: float) -> str:
    return (
        f"{block.histories:,} histories, {block.callbacks:,} callbacks, "
        f"{block.attempts:,} attempts of steps, {block.killed:,} workers killed, "
        f"{time.monotonic() - began:.0f} s: {len(block.broken)} broken"
    )


def _say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
