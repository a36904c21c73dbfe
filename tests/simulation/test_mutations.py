"""The simulator sees each guard of the engine that is taken out."""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import pytest

from simulation import mutations

#: Guards for which a worker has to die at several moments that rarely come together: histories of
#: earlier plans needed them (seeds 1013 and 2393), and today's do not. Their unit tests do:
#: tests/unit/engine/test_places.py and test_suspects.py.
UNSEEN = frozenset(
    {"others run beside the last chance", "a death is forgotten with the log"},
)

#: So many of all mutations may be seen by no history near where they were seen once.
MOST_UNSEEN = 15

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
        pytest.xfail("no history near the beginning needs it: make its world denser")
    if found[name].result() is None:
        # The plans were widened last: some guards are seen later than where a search ends.
        pytest.xfail("not seen since the plans changed: make its world denser")


@pytest.mark.timeout(600)
def test_nearly_all_guards_are_seen(found: Found) -> None:
    """Few mutations get through unseen; `run.py --mutations` says where the others are seen."""
    unseen = sorted(name for name, first in found.items() if first.result() is None)
    assert len(unseen) <= MOST_UNSEEN, unseen
