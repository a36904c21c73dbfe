"""
Histories by hand: `python tests/simulation/run.py --seeds 0-100000`, `--seed 7` for one's trace.

Prints how many held; the first that did not is shown whole. With `--resume FILE` each finished
block is a line of that file, and a range that was interrupted goes on after the blocks that are
there. `--mutations` takes each guard of the engine out and prints the first of the histories that
sees it.
"""

import argparse
import json
import logging
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from itertools import repeat
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from simulation import mutations
from simulation.blocks import Block, run_block
from simulation.history import simulate

BLOCK = 250


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="show the history of this seed")
    parser.add_argument("--seeds", default="0-1000", help="run these: FIRST-LAST, without LAST")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--resume", type=Path, help="keep what was run in this file, and go on")
    parser.add_argument("--mutations", action="store_true", help="instead: who sees each of them")
    chosen = parser.parse_args()
    logging.disable()
    if chosen.seed is not None:
        verdict = simulate(chosen.seed)
        _say(verdict)
        return bool(verdict.violations)
    first, last = map(int, chosen.seeds.split("-"))
    if chosen.mutations:
        return _mutate_all(range(first, last), chosen.jobs)
    return _run_all(range(first, last, BLOCK), last, chosen.jobs, chosen.resume)


def _run_all(firsts: range, last: int, jobs: int, progress: Path | None) -> int:
    began, every, done = time.monotonic(), Block(), _done(progress)
    for first in firsts:
        if first in done:
            every.add(done[first])
    with ProcessPoolExecutor(jobs) as pool:
        running = {
            pool.submit(run_block, first, min(BLOCK, last - first)): first
            for first in firsts
            if first not in done
        }
        for number, future in enumerate(as_completed(running), 1):
            block = future.result()
            every.add(block)
            _keep(progress, running[future], block)
            for seed, violated in block.broken.items():
                _say(f"seed {seed}: {violated}")
            if number % 20 == 0:
                _say(_told(every, began))
    _say(_told(every, began))
    if every.first_broken is not None:
        _say(simulate(every.first_broken))
    return bool(every.broken)


def _done(progress: Path | None) -> dict[int, Block]:
    """Return the blocks that an interrupted run has finished, by their first seed."""
    if progress is None or not progress.exists():
        return {}
    kept = (json.loads(line) for line in progress.read_text().splitlines())
    return {each["first"]: Block.restored(each["block"]) for each in kept}


def _keep(progress: Path | None, first: int, block: Block) -> None:
    if progress is not None:
        with progress.open("a") as file:
            file.write(json.dumps({"first": first, "block": asdict(block)}) + "\n")


def _mutate_all(seeds: range, jobs: int) -> int:
    unseen = 0
    with ProcessPoolExecutor(jobs) as pool:
        numbers = range(len(mutations.every()))
        for number, seed in enumerate(pool.map(mutations.first_seed, numbers, repeat(seeds))):
            unseen += seed is None
            _say(f"{mutations.every()[number].name}: {seed}")
    return bool(unseen)


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
