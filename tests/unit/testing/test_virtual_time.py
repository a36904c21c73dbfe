"""Virtual time: whatever waits for its time fires in order, and no test waits for it."""

import asyncio
import time

import pytest
from tenacity import stop_after_attempt, wait_fixed

from fleet import (
    Context,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowTimeoutError,
    retry_policy,
    step,
)
from fleet.testing.clock import NoVirtualTime, TimeRanOut, virtual_time

HOUR = 3600.0


class Answer(Event):
    pass


class Slept(Event):
    hours: int


class Sleeper(Workflow[str]):
    """Sleeps in the state, and in the step."""

    @step
    async def durable(self, ctx: Context, ev: StartEvent) -> Slept:
        await ctx.sleep(2 * HOUR)
        return Slept(hours=2)

    @step
    async def plain(self, ctx: Context, ev: Slept) -> StopEvent:
        ctx.write_event_to_stream(ev)
        await asyncio.sleep(HOUR)
        return StopEvent(result="awake")


class Flaky(Workflow[int]):
    """Fails twice, an hour apart."""

    @step(retry_policy=retry_policy(wait=wait_fixed(HOUR), stop=stop_after_attempt(3)))
    async def call(self, ctx: Context, ev: StartEvent) -> StopEvent:
        if ctx.attempt < 3:
            raise OSError("busy")
        return StopEvent(result=ctx.attempt)


class Waiter(Workflow[str]):
    """Waits for a person, at most a day."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        try:
            await ctx.wait_for_event(Answer, timeout=24 * HOUR)
        except TimeoutError:
            return StopEvent(result="no answer")
        return StopEvent(result="an answer")


class Slow(Workflow[str]):
    """A step with a limit of its own."""

    @step(timeout=60)
    async def hang(self, ev: StartEvent) -> StopEvent:
        await asyncio.sleep(HOUR)
        return StopEvent(result="never")


async def test_a_run_that_sleeps_for_hours_ends_at_once() -> None:
    """In the state and in the step; and three hours have passed for it."""
    async with virtual_time() as clock:
        assert await Sleeper(timeout=24 * HOUR).run() == "awake"
        assert clock.seconds == pytest.approx(3 * HOUR, abs=1)


async def test_time_is_moved_to_the_middle_of_a_run() -> None:
    """What is due by then has happened, and nothing of what is due later."""
    async with virtual_time() as clock:
        handler = Sleeper(timeout=24 * HOUR).run()
        stream = handler.stream_events()
        await clock.advance(HOUR)
        assert not handler.is_done()
        await clock.advance(1.5 * HOUR)
        assert await anext(stream) == Slept(hours=2)
        assert not handler.is_done()
        await clock.advance(HOUR)
        assert handler.is_done()


async def test_retries_wait_in_virtual_time() -> None:
    """Two waits of an hour."""
    async with virtual_time() as clock:
        assert await Flaky(timeout=24 * HOUR).run() == 3
        assert 2 * HOUR <= clock.seconds < 2.1 * HOUR


@pytest.mark.parametrize(
    ("hours", "answer"), [(23, "an answer"), (25, "no answer")], ids=["in time", "late"]
)
async def test_a_wait_for_a_person_has_its_limit(hours: float, answer: str) -> None:
    """An answer after it comes too late."""
    async with virtual_time() as clock:
        handler = Waiter(timeout=100 * HOUR).run()
        await clock.advance(hours * HOUR)
        if not handler.is_done():
            await handler.send_event(Answer())
        assert await handler == answer


async def test_limits_of_steps_and_runs_pass() -> None:
    """Each raises its own error, and after its own time."""
    async with virtual_time() as clock:
        with pytest.raises(TimeoutError, match="hang"):
            await Slow(timeout=HOUR).run()
        assert clock.seconds == pytest.approx(60, abs=1)
        with pytest.raises(WorkflowTimeoutError):
            await Sleeper(timeout=HOUR).run()
        assert clock.seconds == pytest.approx(HOUR + 60, abs=1)


async def test_timers_fire_in_the_order_of_their_time() -> None:
    """Each sees the moment for which it was set."""
    fired: list[float] = []

    async def fire(seconds: float) -> None:
        await asyncio.sleep(seconds)
        fired.append(round(clock.seconds))

    async with virtual_time() as clock, asyncio.TaskGroup() as tasks:
        for seconds in (300, 100, 100_000, 200):
            tasks.create_task(fire(seconds))
        await clock.advance(250)
        assert fired == [100, 200]
        assert clock.seconds == pytest.approx(250)
    assert fired == [100, 200, 300, 100_000]


async def test_a_thread_is_waited_for_with_patience() -> None:
    """Without it the hour would be over before the thread is."""
    async with virtual_time(patience=5) as clock, asyncio.timeout(HOUR):
        await asyncio.to_thread(time.sleep, 0.01)
        assert clock.seconds == 0


async def test_what_waits_for_ever_is_an_error() -> None:
    """It names the way out."""

    async def block() -> None:
        async with virtual_time(at_most=48 * HOUR):
            await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeRanOut, match=r"2 days .*at_most"):
        await block()


async def test_an_error_of_the_block_stays_what_it_is() -> None:
    """Also a TimeoutError."""
    with pytest.raises(TimeoutError, match="mine") as raised:
        async with virtual_time():
            raise TimeoutError("mine")
    assert not isinstance(raised.value, TimeRanOut)


async def test_time_passes_by_itself_after_the_block() -> None:
    """And never goes back."""
    loop = asyncio.get_running_loop()
    async with virtual_time() as clock:
        await clock.advance(HOUR)
        inside = loop.time()
    assert loop.time() >= inside
    await asyncio.sleep(0.001)
    async with virtual_time() as clock:
        assert clock.seconds == 0
        assert loop.time() >= inside


async def test_a_second_one_in_the_same_loop_is_refused() -> None:
    """Two clocks of one loop contradict each other."""
    async with virtual_time():
        with pytest.raises(NoVirtualTime, match="already"):
            async with virtual_time():
                pass


async def test_no_time_is_refused() -> None:
    """A clock does not go back."""
    async with virtual_time() as clock:
        for wrong in (-1, float("inf"), float("nan")):
            with pytest.raises(ValueError, match="seconds"):
                await clock.advance(wrong)


def test_a_loop_of_another_library_is_refused() -> None:
    """The sentence names it."""
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        async with virtual_time():
            pass

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # noqa: SIM117
        with pytest.raises(NoVirtualTime, match="uvloop"):
            runner.run(main())
