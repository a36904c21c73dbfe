"""Simulated histories: thousands of them here, 100,000 by hand (see `run.py`)."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import pytest
from sharing import cores

from simulation.blocks import Block, run_block

#: Histories of one test, and how many tests.
BLOCK, BLOCKS = 150, 16
RUN = Path(__file__).with_name("run.py")

Blocks = list["Future[Block]"]


@pytest.fixture(scope="module")
def blocks() -> Iterator[Blocks]:
    """All blocks, begun at once on every core that is free."""
    with ProcessPoolExecutor(cores()) as pool:
        yield [pool.submit(run_block, number * BLOCK, BLOCK) for number in range(BLOCKS)]
        pool.shutdown(cancel_futures=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(BLOCKS))
def test_every_promise_holds_in_every_history(blocks: Blocks, number: int) -> None:
    """Crashes at every boundary, zombies, fences, lost disks, duplicates, cancels: see `checks`."""
    block = blocks[number].result()
    assert not block.broken, f"replay: python tests/simulation/run.py --seed {block.first_broken}"
    # A world in which nothing happens keeps every promise.
    assert block.attempts > BLOCK
    assert block.killed > BLOCK // 10


def test_a_seed_replays_exactly() -> None:
    """In another process with other hashes of text: the trace is the same to the last line."""
    traces = {
        subprocess.run(
            [sys.executable, str(RUN), "--seed", "16"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2", "3")
    }
    assert len(traces) == 1
    assert len(traces.pop().splitlines()) > 20
