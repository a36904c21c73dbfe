"""`run_sync`: a run in a script that has no event loop."""

import asyncio
import gc

import pytest

from fleet import StartEvent, StopEvent, Workflow, WorkflowConfigurationError, connect, step


class Adding(Workflow[int]):
    """Adds, and fails where it cannot."""

    @step
    async def add(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=sum(ev.get("numbers")))


def test_it_gives_the_result() -> None:
    """Of a start event or of its fields, several times on one workflow."""
    flow = Adding(timeout=60)
    assert flow.run_sync(numbers=[1, 2]) == 3
    assert flow.run_sync(StartEvent(numbers=[3, 4])) == 7


def test_it_raises_what_the_step_raised() -> None:
    """As `await run(...)` does."""
    with pytest.raises(TypeError, match="unsupported operand"):
        Adding().run_sync(numbers=["one"])


def test_it_leaves_no_loop_behind() -> None:
    """Its own one is closed: nothing is reported when what was in it is collected."""
    assert Adding().run_sync(numbers=[1]) == 1
    gc.collect()
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


async def test_where_a_loop_runs_it_says_what_to_write() -> None:
    """It would stop the loop that runs; no coroutine is left unawaited."""
    with pytest.raises(WorkflowConfigurationError, match=r"write `await Adding\(\.\.\.\)\.run\("):
        Adding().run_sync(numbers=[1])
    with pytest.raises(WorkflowConfigurationError, match=r"write `async with connect\(Adding\) as"):
        connect(Adding).run_sync(numbers=[1])
    gc.collect()
