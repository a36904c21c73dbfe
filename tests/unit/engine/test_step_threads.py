"""Steps that are plain functions: in threads, bounded, and dropped where they cannot be stopped."""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from fleet import Context, Event, StartEvent, StopEvent, Workflow, WorkflowCancelledByUser, step
from fleet.config import settings
from fleet.config.current_step import CURRENT_STEP
from fleet.engine.step_threads import StepThreads
from fleet.records.events import UnencodableEvent
from fleet.workflow.errors import StepTimeoutError
from fleet.workflow.thread_context import StoreInPlainStep

COLOUR: ContextVar[str] = ContextVar("colour", default="none")


class Seen(Event):
    number: int


class Plain(Workflow):
    """Its step does what the test says, in a thread."""

    def __init__(self, body: Callable[[Context, StartEvent], Any], **options: Any) -> None:
        super().__init__(**options)
        self.body = body

    @step
    def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result=self.body(ctx, ev))


class Quick(Plain):
    """It may take so long."""

    @step(timeout=0.05)
    def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result=self.body(ctx, ev))


class Room:
    """Threads that wait in here until they are let go."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.left = 0
        self.let_go = threading.Event()
        self._lock = threading.Lock()

    def wait(self, *_: Any) -> str:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        assert self.let_go.wait(20)
        with self._lock:
            self.inside -= 1
            self.left += 1
        return "done"

    async def has(self, inside: int) -> None:
        """Return when so many threads are inside."""
        async with asyncio.timeout(10):
            while self.inside != inside:  # noqa: ASYNC110 - a thread sets no event of the loop
                await asyncio.sleep(0.001)


@pytest.fixture
def room() -> Iterator[Room]:
    made = Room()
    yield made
    made.let_go.set()


class TestRun:
    async def test_it_runs_in_a_thread_of_its_own(self) -> None:
        """The event loop goes on meanwhile."""
        turned = threading.Event()
        asyncio.get_running_loop().call_later(0.01, turned.set)
        names = Plain(lambda _ctx, _ev: [turned.wait(10), threading.current_thread().name])
        assert await names.run() == [True, "step work"]

    async def test_context_variables_come_along(self) -> None:
        """Log lines of the thread carry the step, and what the caller has set is there."""
        COLOUR.set("red")

        def body(ctx: Context, _ev: StartEvent) -> list[Any]:
            current = CURRENT_STEP.get()
            assert current is not None
            return [current.step, current.run_id == ctx.run_id, COLOUR.get()]

        assert await Plain(body).run() == ["work", True, "red"]

    async def test_the_context_can_be_used(self) -> None:
        """Events are shown in their order, and sent with the result."""

        class Flow(Workflow):
            @step
            def begin(self, ctx: Context, ev: StartEvent) -> Seen | None:
                for number in range(20):
                    ctx.write_event_to_stream(Seen(number=number))
                ctx.send_event(Seen(number=1))
                ctx.send_event(Seen(number=2), step="take")
                return None

            @step
            def take(self, ctx: Context, ev: Seen) -> StopEvent | None:
                both = ctx.collect_events(ev, [Seen, Seen])
                return StopEvent(result=[seen["number"] for seen in both]) if both else None

        handler = Flow().run()
        shown = [event["number"] async for event in handler.stream_events() if "number" in event]
        assert shown == list(range(20))
        assert sorted(await handler) == [1, 2]

    async def test_an_event_that_cannot_be_written_raises_at_its_line(self) -> None:
        """In the thread, which may take it."""

        def body(ctx: Context, _ev: StartEvent) -> str:
            try:
                ctx.write_event_to_stream(StartEvent(value=object()))
            except UnencodableEvent:
                return "taken"
            return "not raised"

        assert await Plain(body).run() == "taken"

    async def test_what_has_to_be_awaited_is_refused(self) -> None:
        """With the way out."""
        said = r"write `async def`.*asyncio.to_thread"
        with pytest.raises(StoreInPlainStep, match=said):
            await Plain(lambda ctx, _ev: ctx.store.get("a")).run()
        with pytest.raises(StoreInPlainStep, match=r"ctx\.run_workflow"):
            await Plain(lambda ctx, _ev: ctx.run_workflow(Plain)).run()

    @pytest.mark.parametrize("error", [LookupError("a"), StopIteration("a"), SystemExit("a")])
    async def test_whatever_it_raises_fails_its_run(self, error: BaseException) -> None:
        """As in a step that is `async def`."""

        def body(_ctx: Context, _ev: StartEvent) -> None:
            raise error

        with pytest.raises(Exception, match="a"):
            await Plain(body).run()


class TestBounds:
    async def test_so_many_run_at_once(self, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
        """The others wait for a thread, and all get one."""
        monkeypatch.setattr(StepThreads.__init__, "__defaults__", (3,))
        flow = Plain(room.wait)
        handlers = [flow.run() for _ in range(8)]
        await room.has(3)
        room.let_go.set()
        assert await asyncio.gather(*handlers) == ["done"] * 8
        assert room.most == 3

    async def test_a_thread_that_is_left_keeps_its_slot(
        self, room: Room, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The run ends at once, and the next step begins when the thread has ended."""
        monkeypatch.setenv("FLEET_SLOTS", "1")
        settings.current.cache_clear()
        try:
            flow = Plain(room.wait)
            first, second = flow.run(), flow.run()
            await room.has(1)
            await first.cancel_run()
            with pytest.raises(WorkflowCancelledByUser):
                await first
            await asyncio.sleep(0.05)
            assert (room.inside, room.left) == (1, 0)
            room.let_go.set()
            assert await second == "done"
            assert room.most == 1
        finally:
            settings.current.cache_clear()


class TestStop:
    async def test_a_time_limit_ends_the_attempt_and_not_the_thread(self, room: Room) -> None:
        """The run fails in time; what the thread does later has no effect."""
        with pytest.raises(StepTimeoutError):
            await Quick(room.wait).run()
        assert room.left == 0

    async def test_the_next_call_of_the_context_ends_a_thread_that_is_left(self) -> None:
        """So a loop that shows its progress stops."""
        going, ended = threading.Event(), threading.Event()

        def body(ctx: Context, _ev: StartEvent) -> None:
            try:
                while True:
                    ctx.write_event_to_stream(Seen(number=0))
                    going.set()
            except asyncio.CancelledError:
                ended.set()
                raise

        handler = Plain(body).run()
        await asyncio.to_thread(going.wait, 10)
        await handler.cancel_run()
        with pytest.raises(WorkflowCancelledByUser):
            await handler
        assert await asyncio.to_thread(ended.wait, 10)

    async def test_a_thread_outlives_its_loop_in_peace(self, room: Room) -> None:
        """Nothing is raised in it, and nothing waits for it."""
        entered = threading.Event()

        def body(*_: Any) -> str:
            entered.set()
            return room.wait()

        def once() -> None:
            async def begin() -> None:
                handler = Plain(body).run()
                await asyncio.to_thread(entered.wait, 10)
                del handler

            asyncio.run(begin())

        await asyncio.to_thread(once)
        room.let_go.set()
        async with asyncio.timeout(10):
            while room.left == 0:  # noqa: ASYNC110 - a thread sets no event of the loop
                await asyncio.sleep(0.001)
        gc.collect()
