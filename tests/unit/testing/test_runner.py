"""The runner: a run with everything that it has shown."""

import pytest

from fleet import (
    Context,
    Event,
    StartEvent,
    StopEvent,
    UnhandledEvent,
    Workflow,
    WorkflowFailedEvent,
    step,
)
from fleet.testing import WorkflowTestRunner


class Progress(Event):
    done: int


class Nobody(Event):
    pass


class Count(Workflow[int]):
    """Shows its progress, and sends what no step takes."""

    @step
    async def count(self, ctx: Context, ev: StartEvent) -> StopEvent:
        for done in range(ev.get("upto", 2)):
            ctx.write_event_to_stream(Progress(done=done))
        ctx.send_event(Nobody())
        await ctx.store.set("counted", True)
        if ev.get("fails"):
            raise LookupError("on purpose")
        return StopEvent(result=ev.get("upto", 2))


async def test_a_run_gives_its_result_its_events_and_its_context() -> None:
    """The stream in order, with what Fleet shows, and how many of each type."""
    result = await WorkflowTestRunner(Count()).run(upto=3)
    assert result.result == 3
    assert result.of(Progress) == [Progress(done=done) for done in range(3)]
    assert isinstance(result.collected[-1], StopEvent)
    assert result.event_types == {Progress: 3, UnhandledEvent: 1, StopEvent: 1}
    assert await result.ctx.store.get("counted") is True


async def test_events_are_left_out() -> None:
    """Those of a type, and those that Fleet shows."""
    runner = WorkflowTestRunner(Count())
    result = await runner.run(
        StartEvent(upto=1), expose_internal=False, exclude_events=[StopEvent], run_id="r", timeout=9
    )
    assert result.event_types == {Progress: 1}
    assert (await runner.run(start_event=StartEvent(upto=1))).event_types[StopEvent] == 1


async def test_a_failed_run_raises_and_its_events_stay() -> None:
    """The step's own error; the last event says so."""
    runner = WorkflowTestRunner(Count())
    with pytest.raises(LookupError, match="on purpose"):
        await runner.run(fails=True, upto=1)
    assert runner.collected[0] == Progress(done=0)
    assert isinstance(runner.collected[-1], WorkflowFailedEvent)
