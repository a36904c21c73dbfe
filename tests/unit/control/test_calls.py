"""What callers do in memory; `tests/integration/test_calls_kafka.py` has the same on Kafka."""

import logging
from collections.abc import Iterator

import pytest
from call_cases import CASES, Case
from call_flow import CallFlow


@pytest.fixture(autouse=True)
def log_nothing() -> Iterator[None]:
    logging.getLogger("fleet").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("fleet").setLevel(logging.NOTSET)


@pytest.mark.parametrize("case", CASES, ids=[each.name for each in CASES])
async def test_in_memory(case: Case) -> None:
    """A case comes to the same wherever it runs."""
    assert await case.act(CallFlow(timeout=30)) == case.expected
