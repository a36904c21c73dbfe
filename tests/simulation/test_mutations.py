"""The simulator sees each guard of the engine that is taken out."""

import logging
import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import pytest

from simulation import mutations
from simulation.history import simulate

#: How many histories a mutation may get through unseen.
MOST_SEEDS = 2_000

Found = dict[str, "Future[int | None]"]


def first_seed_that_sees(number: int) -> int | None:
    """Return the first seed whose history breaks a promise without the guard."""
    logging.disable()
    with mutations.every()[number].applied():
        return next((seed for seed in range(MOST_SEEDS) if simulate(seed).violations), None)


@pytest.fixture(scope="module")
def found() -> Iterator[Found]:
    """All searches, begun at once on every core."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        yield {
            mutation.name: pool.submit(first_seed_that_sees, number)
            for number, mutation in enumerate(mutations.every())
        }
        pool.shutdown(cancel_futures=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [mutation.name for mutation in mutations.every()])
def test_the_simulator_sees_that_a_guard_is_missing(found: Found, name: str) -> None:
    """Some history breaks a promise, in this process's order of seeds."""
    assert found[name].result() is not None
