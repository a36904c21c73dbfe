"""The context of runs in memory: typed, edited by many steps, read by the caller."""

import asyncio
import logging
from datetime import UTC, datetime

import pytest
from pydantic import BaseModel, Field

from fleet import Context, ContextStateError, Event, StartEvent, StopEvent, Workflow, step
from fleet.client.run_context import ContextNotKept


class Page(Event):
    number: int


class Read(BaseModel):
    begun: datetime | None = None
    pages: int = 0


class Counted(Read):
    done: int = 0
    names: dict[str, int] = Field(default_factory=dict)
    rows: list[str] = Field(default_factory=list)


BEGUN = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


class Shown(Event):
    """The first pages are read."""


class Counter(Workflow[int]):
    """Reads pages side by side; the last one to count ends the run."""

    def __init__(self) -> None:
        super().__init__(timeout=20)
        self.go_on = asyncio.Event()
        self.running: list[str] = []

    @step
    async def begin(self, ctx: Context[Read], ev: StartEvent) -> Page | None:
        await ctx.store.set_state(Read(begun=BEGUN, pages=ev.get("pages")))
        for number in range(ev.get("pages")):
            ctx.send_event(Page(number=number))
        return None

    @step(num_workers=16)
    async def page(self, ctx: Context[Counted], ev: Page) -> StopEvent | None:
        self.running = await ctx.running_steps()
        ctx.log.info("page_read", pages=ev.number)
        await asyncio.sleep(0)
        async with ctx.store.edit_state() as state:
            assert state.begun == BEGUN
            state.done += 1
            state.names[f"page {ev.number}"] = ev.number
            is_last = state.done == state.pages
        if ev.number == 0:
            await ctx.write_event_to_stream(Shown())
            await self.go_on.wait()
        if ev.number == 3 and is_last:
            raise LookupError(ev.number)
        return StopEvent(result=state.done) if is_last else None


class TestEdits:
    async def test_many_steps_count_in_one_state(self) -> None:
        """None is lost, and exactly one sees the last number."""
        flow = Counter()
        flow.go_on.set()
        assert await flow.run(pages=60) == 60

    async def test_steps_see_their_values_as_they_were_typed(self) -> None:
        """In every step, and so does the caller, after the end, too."""
        flow = Counter()
        flow.go_on.set()
        handler = flow.run(pages=20)
        await handler
        state = await handler.ctx.store.get_state()
        assert state == Counted(
            begun=BEGUN, pages=20, done=20, names={f"page {n}": n for n in range(20)}
        )
        assert await handler.ctx.store.get("begun") == BEGUN


class TestCaller:
    async def test_a_caller_reads_while_the_run_goes_on(self) -> None:
        """What is committed: what it was shown after an edit has the edit."""
        flow = Counter()
        handler = flow.run(pages=1)
        async for event in handler.stream_events():
            if isinstance(event, Shown):
                assert await handler.ctx.store.get("done") == 1
                assert await handler.ctx.running_steps() == ["page"]
                assert handler.ctx.is_running
                flow.go_on.set()
        assert await handler == 1
        assert flow.running == ["page"]

    async def test_a_failed_run_keeps_what_it_had(self) -> None:
        """Its edits, too: they were committed by themselves."""
        flow = Counter()
        flow.go_on.set()
        handler = flow.run(pages=4)
        with pytest.raises(LookupError):
            await handler
        assert await handler.ctx.store.get("done") == 4

    async def test_a_large_context_ends_with_its_run(self) -> None:
        """The result is there, and the error says what to do."""

        class Large(Workflow):
            @step
            async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
                for number in range(3):
                    await ctx.store.set(f"part {number}", "x" * 60_000)
                return StopEvent(result="done")

        handler = Large().run()
        assert await handler == "done"
        with pytest.raises(ContextNotKept, match=r"180,0.. bytes was not kept"):
            await handler.ctx.store.get_state()

    async def test_a_result_that_is_nearly_too_large_comes_without_its_context(self) -> None:
        """A context never makes a result fail."""

        class Large(Workflow):
            @step
            async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
                await ctx.store.set("a", "x" * 60_000)
                return StopEvent(result="x" * 950_000)

        handler = Large().run()
        assert len(str(await handler)) == 950_000
        with pytest.raises(ContextNotKept, match="60,0"):
            await handler.ctx.store.get("a")

    async def test_without_a_context_the_state_is_empty(self) -> None:
        """And a model's has its defaults."""

        class Bare(Workflow):
            @step
            async def only(self, ctx: Context[Counted], ev: StartEvent) -> StopEvent:
                return StopEvent()

        handler = Bare().run()
        await handler
        assert await handler.ctx.store.get_state() == Counted()


class TestRefused:
    async def test_a_value_of_another_type_fails_the_step(self) -> None:
        """The error names the field."""

        class Wrong(Workflow):
            @step
            async def only(self, ctx: Context[Counted], ev: StartEvent) -> StopEvent:
                async with ctx.store.edit_state() as state:
                    state.done = "many"  # type: ignore[assignment]
                return StopEvent()

        with pytest.raises(ContextStateError, match="value at 'done' cannot be kept"):
            await Wrong().run()


async def test_a_step_logs_with_its_names(caplog: pytest.LogCaptureFixture) -> None:
    """Of workflow, step, run and attempt, and nothing else that the step did not say."""
    flow = Counter()
    flow.go_on.set()
    with caplog.at_level(logging.INFO, "fleet.step"):
        await flow.run(pages=1, run_id="r")
    (line,) = [record.msg for record in caplog.records if record.name == "fleet.step"]
    assert isinstance(line, dict)
    said = {
        name: line[name] for name in ("event", "workflow", "step", "run_id", "attempt", "pages")
    }
    assert said == {
        "event": "page_read",
        "workflow": "counter",
        "step": "page",
        "run_id": "r",
        "attempt": 1,
        "pages": 0,
    }


class Extended(Counted):
    extra: str = "x"


class TestAsInLlamaIndex:
    """What a workflow written for LlamaIndex Workflows does, with the results that it has there."""

    async def test_a_typed_state(self) -> None:
        """Edited, merged from a parent's object, cleared."""

        class Typed(Workflow):
            @step
            async def begin(self, ctx: Context[Counted], ev: StartEvent) -> Page:
                async with ctx.store.edit_state() as state:
                    state.done += 1
                    state.names["a"] = 1
                return Page(number=1)

            @step
            async def end(self, ctx: Context[Extended], ev: Page) -> StopEvent:
                found = [(await ctx.store.get_state()).model_dump(exclude={"begun"})]
                found.append(await ctx.store.get("nope.x", default="d"))
                for wrong in (ctx.store.get("nope"), ctx.store.set_state(5)):  # type: ignore[arg-type]
                    with pytest.raises(ValueError, match=r"nope|State must be of type Extended"):
                        await wrong
                await ctx.store.set_state(Counted(done=7))  # type: ignore[arg-type]
                found.append((await ctx.store.get_state()).model_dump(exclude={"begun"}))
                await ctx.store.clear()
                found.append((await ctx.store.get_state()).model_dump(exclude={"begun"}))
                return StopEvent(result=found)

        blank = {"pages": 0, "done": 0, "names": {}, "rows": [], "extra": "x"}
        handler = Typed().run()
        assert await handler == [
            blank | {"done": 1, "names": {"a": 1}},
            "d",
            blank | {"done": 7},
            blank,
        ]
        assert await handler.ctx.store.get_state() == Extended()

    async def test_a_state_without_a_model(self) -> None:
        """Names as keys and as attributes; paths lead into lists."""

        class Untyped(Workflow):
            @step
            async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
                async with ctx.store.edit_state() as state:
                    state["a"] = 1
                    state.b = {"c": [1, 2]}
                state = await ctx.store.get_state()
                await ctx.store.set("b.c.1", 5)
                seen = [state.a, state["b"], "a" in state, state.get("zz", 3)]
                return StopEvent(result=[*seen, await ctx.store.get("b.c.1")])

        handler = Untyped().run()
        assert await handler == [1, {"c": [1, 2]}, True, 3, 5]
        assert (await handler.ctx.store.get_state()).a == 1
        assert await handler.ctx.store.get("b.c.0") == 1
