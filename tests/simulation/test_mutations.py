"""The simulator sees each guard of the engine that is taken out."""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import pytest

from simulation import mutations

#: Guards whose absence is seen by no history near the beginning since the plans changed last; each
#: was seen before. `run.py --mutations --seeds 0-100000` looks further.
UNSEEN = frozenset(
    {
        "what is gone is waited for",
    }
)

Found = dict[str, "Future[int | None]"]


@pytest.fixture(scope="module")
def found() -> Iterator[Found]:
    """All searches, begun at once on every core."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        yield {
            mutation.name: pool.submit(mutations.first_seed, number)
            for number, mutation in enumerate(mutations.every())
            if mutation.name not in UNSEEN
        }
        pool.shutdown(cancel_futures=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [mutation.name for mutation in mutations.every()])
def test_the_simulator_sees_that_a_guard_is_missing(found: Found, name: str) -> None:
    """Some history breaks a promise."""
    if name in UNSEEN:
        pytest.xfail("not seen since the plans changed: make its world denser")
    assert found[name].result() is not None
