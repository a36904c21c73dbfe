"""Failures on purpose: steps that raise when the test wants it to, and workers that crash."""

import asyncio
from typing import Any

import pytest
from tenacity import stop_after_attempt, wait_fixed

from fleet import (
    Context,
    Event,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    catch_error,
    retry_policy,
    step,
)
from fleet.testing import WorkerCrash, crash_worker, fail_step, virtual_time
from fleet.testing.failures import NoStepToFail, NoWorkerToCrash

THRICE = retry_policy(wait=wait_fixed(0), stop=stop_after_attempt(3))


class Page(Event):
    number: int


class Fetched(Event):
    number: int


class Answer(Event):
    pass


class Book(Workflow[list[int]]):
    """Fetches pages and joins them; counts what its steps begin."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.begun: list[str] = []

    @step
    async def split(self, ev: StartEvent) -> list[Page]:
        self.begun.append("split")
        return [Page(number=number) for number in range(3)]

    @step(retry_policy=THRICE)
    async def fetch(self, ev: Page) -> Fetched:
        self.begun.append(f"fetch {ev.number}")
        return Fetched(number=ev.number)

    @step
    def join(self, pages: list[Fetched]) -> StopEvent:
        self.begun.append("join")
        return StopEvent(result=sorted(page.number for page in pages))


class Caught(Workflow[str]):
    """Handles what its step raises."""

    @step
    async def work(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result="done")

    @catch_error
    async def handle(self, ev: StepFailedEvent) -> StopEvent:
        return StopEvent(result=f"caught {ev.exception}")


class Long(Workflow[str]):
    """Sleeps in the state, asks a person, and works between them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.begun: list[str] = []
        self.lets_go = asyncio.Event()

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> Fetched:
        self.begun.append("ask")
        await ctx.sleep(3600)
        await ctx.wait_for_event(Answer)
        return Fetched(number=await ctx.memo("price", self.price))

    async def price(self) -> int:
        self.begun.append("price")
        return 7

    @step
    async def work(self, ctx: Context, ev: Fetched) -> StopEvent:
        self.begun.append("work")
        ctx.write_event_to_stream(ev)
        await self.lets_go.wait()
        return StopEvent(result=f"{ev.number}")


async def test_a_step_fails_at_its_first_attempt() -> None:
    """Of each event; and its retry policy brings the run to its end."""
    flow = Book(timeout=20)
    with fail_step(flow, "fetch", OSError("down")) as failures:
        assert await flow.run() == [0, 1, 2]
    assert failures.count == 3
    assert flow.begun.count("fetch 1") == 1


async def test_a_step_fails_at_every_attempt_of_one_event() -> None:
    """Its own error ends the run."""
    flow = Book(timeout=20)
    with (
        fail_step(
            flow, "fetch", OSError("page 1"), attempts=range(1, 4), when=lambda ev: ev.number == 1
        ) as failures,
        pytest.raises(OSError, match="page 1"),
    ):
        await flow.run()
    assert failures.count == 3
    assert "fetch 1" not in flow.begun


async def test_a_step_fails_at_its_second_attempt_alone() -> None:
    """One that fails first by another cause."""
    flow = Book(timeout=20)
    with (
        fail_step(flow, "fetch", OSError, when=lambda ev: ev.number == 2),
        fail_step(flow, "fetch", KeyError("again"), attempts=2) as second,
    ):
        assert await flow.run() == [0, 1, 2]
    assert second.count == 1


async def test_a_step_fails_after_its_work() -> None:
    """What it did is done twice."""
    flow = Book(timeout=20)
    with fail_step(flow, "fetch", OSError("lost"), when=lambda ev: ev.number == 0, after=True):
        assert await flow.run() == [0, 1, 2]
    assert flow.begun.count("fetch 0") == 2


async def test_a_step_in_a_thread_fails() -> None:
    """It has no retry policy, so the run does."""
    flow = Book(timeout=20)
    with fail_step(flow, "join", OSError("disk full")), pytest.raises(OSError, match="disk full"):
        await flow.run()
    assert "join" not in flow.begun


async def test_a_handler_of_failures_gets_the_error() -> None:
    """As of any other."""
    with fail_step(Caught, "work", RuntimeError("on purpose")):
        assert await Caught(timeout=20).run() == "caught on purpose"


async def test_other_objects_and_later_runs_do_not_fail() -> None:
    """Only the object under test, and only in the block."""
    flow, other = Caught(timeout=20), Caught(timeout=20)
    with fail_step(flow, "work", RuntimeError("on purpose")):
        assert await other.run() == "done"
        assert await flow.run() == "caught on purpose"
    assert await flow.run() == "done"


async def test_a_worker_crashes_while_a_step_runs() -> None:
    """What was committed is not done again; the step in flight is."""
    flow = Book(timeout=20)
    with fail_step(flow, "fetch", WorkerCrash(), when=lambda ev: ev.number == 1) as failures:
        assert await flow.run() == [0, 1, 2]
    assert failures.count == 1
    assert flow.begun.count("split") == 1
    assert flow.begun.count("join") == 1
    assert flow.begun.count("fetch 1") == 1


async def test_a_worker_crashes_after_the_work_of_a_step() -> None:
    """Its result was not committed, so the step runs again."""
    flow = Book(timeout=20)
    with fail_step(flow, "fetch", WorkerCrash, when=lambda ev: ev.number == 1, after=True):
        assert await flow.run() == [0, 1, 2]
    assert flow.begun.count("fetch 1") == 2
    assert flow.begun.count("join") == 1


async def test_a_run_that_sleeps_and_waits_outlives_crashes() -> None:
    """In each of its states; what it has paid is not paid again, and the caller notices nothing."""
    async with virtual_time() as clock:
        flow = Long(timeout=None)
        handler = flow.run()
        await clock.advance(1800)
        await crash_worker(flow)
        await clock.advance(1900)
        await crash_worker(flow)
        await handler.send_event(Answer())
        stream = handler.stream_events()
        assert await anext(stream) == Fetched(number=7)
        await crash_worker(flow)
        await clock.settle()
        flow.lets_go.set()
        assert await handler == "7"
        assert flow.begun.count("price") == 1
        assert flow.begun.count("work") == 2
        assert await flow.run(run_id=handler.run_id) == "7"
    assert flow.begun.count("price") == 1


async def test_many_runs_outlive_many_crashes() -> None:
    """Each ends once, with its own result."""
    flow = Book(timeout=20)
    handlers = [flow.run() for _ in range(20)]
    for _ in range(10):
        await asyncio.sleep(0)
        await crash_worker(flow)
    assert [await handler for handler in handlers] == [[0, 1, 2]] * 20
    assert flow.begun.count("join") >= 20


async def test_crashes_at_once_are_one() -> None:
    """A worker dies once."""
    flow = Book(timeout=20)
    handler = flow.run()
    await asyncio.sleep(0)
    await asyncio.gather(*(crash_worker(flow) for _ in range(3)))
    assert await handler == [0, 1, 2]


async def test_what_cannot_fail_or_crash_is_named() -> None:
    """With the steps that there are."""
    known = "no step 'fly'; it has split, fetch, join"
    with pytest.raises(NoStepToFail, match=known), fail_step(Book, "fly", OSError):
        pass
    with pytest.raises(NoStepToFail, match="thread"), fail_step(Book, "join", WorkerCrash):
        pass
    with pytest.raises(NoWorkerToCrash, match="Book"):
        await crash_worker(Book())


class Inner(Workflow[str]):
    """Runs inside of another one."""

    @step
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        ctx.write_event_to_stream(Answer())
        await ctx.sleep(3600)
        return StopEvent(result="inner")


class Outer(Workflow[str]):
    """Runs another workflow in its step."""

    @step
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result=await ctx.run_workflow(Inner, timeout=7200))


async def test_a_workflow_inside_of_another_outlives_a_crash() -> None:
    """Both ran in the process that was killed."""
    async with virtual_time() as clock:
        flow = Outer(timeout=None)
        handler = flow.run()
        await clock.advance(1800)
        await crash_worker(flow)
        await clock.advance(1800)
        assert await handler == "inner"
        assert clock.seconds < 3700
