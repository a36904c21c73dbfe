"""What callers do in memory; `tests/integration/test_calls_kafka.py` has the same on Kafka."""

import asyncio
import logging
from collections.abc import Iterator

import pytest
from call_cases import CASES, Case
from call_flow import CallFlow, Token

from fleet import Event, WorkflowRuntimeError
from fleet.control import calls


@pytest.fixture(autouse=True)
def log_nothing() -> Iterator[None]:
    logging.getLogger("fleet").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("fleet").setLevel(logging.NOTSET)


@pytest.mark.parametrize("case", CASES, ids=[each.name for each in CASES])
async def test_in_memory(case: Case) -> None:
    """A case comes to the same wherever it runs."""
    assert await case.act(CallFlow(timeout=30)) == case.expected


@pytest.mark.parametrize("do", ["", "skip"])
async def test_a_command_shows_what_steps_show_and_not_the_end(do: str) -> None:
    """It prints the result, or the error, by itself."""
    shown: list[Event] = []
    handler = CallFlow(timeout=30).run(tokens=2, do=do)
    await calls._show(handler, CallFlow, shown.append)

    assert shown == [Token(number=0), Token(number=1)]
    if do:
        with pytest.raises(WorkflowRuntimeError):
            await handler


async def test_a_cancel_beside_a_result_is_the_end_or_is_none() -> None:
    """Whichever the log has first; the stream and the handler say the same."""
    outcomes = set()
    for turns in range(40):
        handler = CallFlow(timeout=30).run()
        for _ in range(turns):
            await asyncio.sleep(0)
        await handler.cancel_run()
        (last,) = [type(event).__name__ async for event in handler.stream_events()]
        was_cancelled = handler.cancelled()
        assert last == ("WorkflowCancelledEvent" if was_cancelled else "StopEvent")
        assert handler.outcome == ("cancelled" if was_cancelled else "completed")
        outcomes.add(handler.outcome)
    assert outcomes == {"cancelled", "completed"}
