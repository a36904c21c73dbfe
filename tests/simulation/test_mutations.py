"""The simulator sees each guard of the engine that is taken out."""

from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import pytest
from sharing import cores

from simulation import mutations

Found = dict[str, "Future[int | None]"]


@pytest.fixture(scope="module")
def found() -> Iterator[Found]:
    """All searches, begun at once on every core that is free."""
    with ProcessPoolExecutor(cores()) as pool:
        yield {
            mutation.name: pool.submit(mutations.first_seed, number)
            for number, mutation in enumerate(mutations.every())
        }
        pool.shutdown(cancel_futures=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [mutation.name for mutation in mutations.every()])
def test_the_simulator_sees_that_a_guard_is_missing(found: Found, name: str) -> None:
    """Some history breaks a promise."""
    assert found[name].result() is not None
