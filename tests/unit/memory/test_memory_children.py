"""Workflows inside of workflows, in memory: results, errors, cancels, deadlines."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from native import eventually

from fleet import (
    Context,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowTimeoutError,
    step,
)
from fleet.config.recorded_only import RECORDED_ONLY, NoRecordedAnswer
from fleet.workflow.calling.children import BadChild, WaitsForItself
from fleet.workflow.errors import WorkflowConfigurationError


class Text(StartEvent):
    text: str
    seconds: float = 0.0


class Summary(StopEvent):
    words: int
    by: str


class Summarise(Workflow):
    """Counts words."""

    #: What has begun, has ended, and was cancelled.
    begun: ClassVar[list[str]] = []
    ended: ClassVar[list[str]] = []
    cancelled: ClassVar[list[str]] = []

    def __init__(self, by: str = "default", timeout: float | None = 30) -> None:
        super().__init__(timeout=timeout)
        self.by = by

    @step
    async def count(self, ev: Text) -> Summary:
        self.begun.append(ev.text)
        try:
            await asyncio.sleep(ev.seconds)
        except asyncio.CancelledError:
            self.cancelled.append(ev.text)
            raise
        self.ended.append(ev.text)
        if not ev.text:
            raise LookupError("no text")
        return Summary(words=len(ev.text.split()), by=self.by)


class Needy(Workflow):
    """Takes an argument."""

    def __init__(self, argument: str) -> None:
        super().__init__()
        self.argument = argument

    @step
    async def go(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=self.argument)


class Digest(Workflow):
    """Runs another workflow as the test says."""

    short = Summarise(by="short", timeout=0.2)
    tops = 0

    def __init__(self, does: Any, **options: Any) -> None:
        super().__init__(**options)
        self.does = does

    @step
    async def go(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.tops += 1
        return StopEvent(result=await self.does(self, ctx))


@pytest.fixture(autouse=True)
def _forget() -> None:
    for told in (Summarise.begun, Summarise.ended, Summarise.cancelled):
        told.clear()


async def test_the_result_comes_whole_and_typed() -> None:
    seen = []

    async def does(_flow: Digest, ctx: Context) -> int:
        seen.append(await ctx.run_workflow(Summarise, text="a b c"))
        return 1

    flow = Digest(does)
    await flow.run()
    assert seen == [Summary(words=3, by="default")]
    assert type(seen[0]) is Summary
    assert flow.tops == 2


async def test_a_start_event_and_an_object_of_the_class_are_taken() -> None:
    async def does(_flow: Digest, ctx: Context) -> list[str]:
        own, other = Summarise(by="own"), Needy("x")
        return [
            (await ctx.run_workflow(own, Text(text="a"))).by,
            await ctx.run_workflow(other),
        ]

    # Each attempt makes objects of its own: what counts is which call it is.
    assert await Digest(does).run() == ["own", "x"]


async def test_the_error_of_the_other_run_is_raised() -> None:
    async def does(_flow: Digest, ctx: Context) -> None:
        await ctx.run_workflow(Summarise, text="")

    with pytest.raises(LookupError, match="no text"):
        await Digest(does).run()


async def test_the_other_run_has_a_time_limit_of_its_own() -> None:
    async def does(flow: Digest, ctx: Context) -> str:
        try:
            await ctx.run_workflow(flow.short, text="long", seconds=30)
        except WorkflowTimeoutError as error:
            return str(error)
        return ""

    assert "0.2 seconds" in await Digest(does).run()
    assert Summarise.cancelled == ["long"]


async def test_a_run_that_times_out_cancels_what_it_awaits() -> None:
    async def does(_flow: Digest, ctx: Context) -> None:
        await ctx.run_workflow(Summarise, text="long", seconds=30, timeout=None)

    with pytest.raises(WorkflowTimeoutError, match="awaits summarise"):
        await Digest(does, timeout=0.3).run()
    await _until(lambda: Summarise.cancelled == ["long"])


async def test_a_cancel_reaches_the_runs_inside_of_a_run() -> None:
    async def inner(_flow: Digest, ctx: Context) -> None:
        await ctx.run_workflow(Summarise, text="deep", seconds=30)

    child = Digest(inner)

    async def outer(_flow: Digest, ctx: Context) -> None:
        await ctx.run_workflow(child)

    handler = Digest(outer).run()
    await _until(lambda: Summarise.begun == ["deep"])
    await handler.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await handler
    await _until(lambda: Summarise.cancelled == ["deep"])


async def test_many_runs_go_on_side_by_side() -> None:
    async def does(_flow: Digest, ctx: Context) -> int:
        runs = [ctx.run_workflow(Summarise, text=f"t {n}", seconds=0.2) for n in range(50)]
        return sum(one.words for one in await asyncio.gather(*runs))

    assert await asyncio.wait_for(Digest(does).run(), 8) == 100
    assert len(Summarise.ended) == 50


async def test_what_cannot_be_run_is_refused() -> None:
    found: list[str] = []

    async def does(_flow: Digest, ctx: Context) -> None:
        wrong: Any
        for wrong in (Needy, int, "summarise"):
            with pytest.raises(BadChild) as refused:
                await ctx.run_workflow(wrong)
            found.append(str(refused.value))
        with pytest.raises(WorkflowConfigurationError, match="text"):
            await ctx.run_workflow(Summarise)
        with pytest.raises(WorkflowConfigurationError, match="timeout"):
            await ctx.run_workflow(Summarise, text="a", timeout=-1)

    await Digest(does).run()
    assert "Needy() cannot be made" in found[0]
    assert "int" in found[1]
    assert "'summarise'" in found[2]


async def test_workers_of_other_workflows_end_with_the_one_that_needs_them() -> None:
    child = Summarise()

    async def does(_flow: Digest, ctx: Context) -> int:
        return len((await ctx.run_workflow(child, text="a")).by)

    flow = Digest(does)
    assert await flow.run() == len("default")
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert any("summarise" in name for name in names)
    gone = weakref.ref(flow)
    del flow
    gc.collect()
    assert gone() is None
    await _until(
        lambda: not any("commits memory" in task.get_name() for task in asyncio.all_tasks())
    )


async def _until(condition: Callable[[], bool]) -> None:
    async def holds() -> bool:
        return condition()

    await eventually(holds, 10)


async def test_a_workflow_with_a_limit_of_its_runs_does_not_wait_for_itself() -> None:
    async def does(flow: Digest, ctx: Context) -> None:
        await ctx.run_workflow(flow)

    with pytest.raises(WaitsForItself, match="num_concurrent_runs"):
        await Digest(does, num_concurrent_runs=1).run()


async def test_a_replay_starts_no_run_that_is_not_recorded() -> None:
    async def does(_flow: Digest, ctx: Context) -> None:
        await ctx.run_workflow(Summarise, text="paid")

    RECORDED_ONLY.set(True)
    with pytest.raises(NoRecordedAnswer, match=r"ctx\.run_workflow\(summarise\)"):
        await Digest(does).run()
    assert Summarise.begun == []
