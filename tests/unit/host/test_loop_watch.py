"""A step that blocks the event loop is named while it does."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from fleet import Event, StartEvent, StopEvent, Workflow, step
from fleet.config.current_step import CurrentStep
from fleet.host.loop_watch import LOOKS, Blocked, LoopWatch

#: How long a loop stays blocked that nobody reports, in seconds.
PATIENCE_SECONDS = 20.0


class Reports:
    """What a watch says; `block` holds its thread until it has said something."""

    def __init__(self) -> None:
        self.blocked: list[Blocked] = []
        self.counted: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
        self._said = threading.Event()
        self._loop = asyncio.get_running_loop()
        self.watch = LoopWatch(self._count, self._hear)

    def block(self) -> None:
        assert self._said.wait(PATIENCE_SECONDS)
        self._said.clear()

    def _hear(self, blocked: Blocked) -> None:
        self.blocked.append(blocked)
        self._said.set()

    def _count(self, step: str, seconds: float) -> None:
        self._loop.call_soon_threadsafe(self.counted.put_nowait, (step, seconds))


class Mid(Event):
    pass


def _flow(block: Callable[[], None]) -> Workflow:
    class Blocking(Workflow):
        @step
        async def first(self, ev: StartEvent) -> Mid:
            return Mid()

        @step
        async def second(self, ev: Mid) -> StopEvent:
            block()
            return StopEvent()

    return Blocking()


async def _nested(block: Callable[[], None]) -> None:
    await asyncio.sleep(0)
    block()


async def _watched(reports: Reports, work: Callable[[], object]) -> tuple[str, float]:
    watching = asyncio.create_task(reports.watch.run())
    await asyncio.sleep(0)
    try:
        result = work()
        if asyncio.iscoroutine(result):
            await result
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await reports.counted.get()
    finally:
        watching.cancel()


async def test_step_run_and_line_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """While it blocks: the log has the step, its run, the line and what to do."""
    reports = Reports()

    async def run() -> None:
        await _flow(reports.block).run(run_id="run-7")

    counted, _ = await _watched(reports, run)
    [blocked] = reports.blocked
    assert blocked.step == CurrentStep("second", "run-7")
    assert blocked.at.startswith(f"{__file__}:")
    assert blocked.at.endswith("in Reports.block")
    assert counted == "second"
    [line] = [each for each in caplog.messages if "event_loop_blocked" in each]
    assert "asyncio.to_thread" in line


async def test_a_task_that_a_step_made_counts_as_the_step() -> None:
    """Who blocks is the step, whichever of its tasks it is."""
    reports = Reports()

    class Gathering(Workflow):
        @step
        async def gather(self, ev: StartEvent) -> StopEvent:
            await asyncio.gather(_nested(reports.block), asyncio.sleep(0))
            return StopEvent()

    async def run() -> None:
        await Gathering().run(run_id="run-8")

    counted, _ = await _watched(reports, run)
    assert counted == "gather"
    assert reports.blocked[0].step == CurrentStep("gather", "run-8")


async def test_what_is_no_step_is_shown_by_its_line() -> None:
    """A callback of somebody else's has a place, and no step."""
    reports = Reports()
    counted, _ = await _watched(reports, reports.block)
    assert counted == ""
    assert reports.blocked[0].step is None
    assert "Reports.block" in reports.blocked[0].at


async def test_many_short_steps_are_not_called_one_that_blocks() -> None:
    """A crowded loop does not turn either; the step that it is at just then is not to blame."""
    reports = Reports()
    loop, thread = asyncio.get_running_loop(), threading.get_ident()

    class Crowd(Workflow):
        @step
        async def look(self, ev: StartEvent) -> StopEvent:
            for _ in range(LOOKS):
                reports.watch.look(loop, thread)
            return StopEvent()

    reports.watch.look(loop, thread)
    # Another task was there at the first look without a beat: this one.
    reports.watch.look(loop, thread)
    await Crowd().run()
    assert [each.step for each in reports.blocked] == [None]


async def test_a_loop_that_turns_is_not_reported() -> None:
    """With a beat between two looks it does not stand still, however many looks there are."""
    reports = Reports()
    for _ in range(3 * LOOKS):
        reports.watch.beat()
        for _ in range(LOOKS):
            reports.watch.look(asyncio.get_running_loop(), threading.get_ident())
    assert reports.blocked == []
