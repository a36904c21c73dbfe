"""Failures that a handler takes, in a task: what is committed with them, and what stays."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any

import pytest
from aiokafka.errors import MessageSizeTooLargeError
from refusing import refuse
from task_world import TOPICS, Clock, Gate, Log, World, turns
from tenacity import retry_if_exception_type, stop_after_attempt, wait_none

from fleet import (
    Collect,
    Context,
    Event,
    HumanResponseEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Take,
    catch_error,
    retry_policy,
    step,
)
from fleet.engine import commits, task
from fleet.engine.log import Receipt, RecordsRefused
from fleet.engine.timers import waking
from fleet.engine.transitions.sizes import MAX_RECORD_BYTES, MAX_VALUE_BYTES
from fleet.records import state
from fleet.records.events import decoded
from fleet.records.lifecycle import Cancelled, Completed, Failed, Lifecycle, Resumed
from fleet.records.log import Outgoing
from fleet.workflow.definition import Definition
from fleet.workflow.errors import StepTimeoutError
from fleet.workflow.failing.step_failed import JoinedEvents

FAILURES = TOPICS.event("StepFailedEvent")


class Part(Event):
    n: int
    text: str = ""


class Done(Event):
    n: int


class Answer(HumanResponseEvent):
    pass


async def _pay() -> int:
    return 1


class Flow(Definition):
    """Parts are worked on apart and joined; a handler is for all that fails."""

    def __init__(self) -> None:
        self.gate = Gate()
        #: Parts whose step fails, -1 for the join, -2 for the handler.
        self.failing: set[int] = set()
        #: What the handler got.
        self.got: list[StepFailedEvent] = []
        #: Bytes of the text of each part.
        self.size = 0
        #: What a failure says beside the number.
        self.more = ""

    @step
    async def split(self, ctx: Context, ev: StartEvent) -> list[Part]:
        return [Part(n=n, text="x" * self.size) for n in range(ev.get("parts", 2))]

    @step
    async def work(self, ctx: Context, ev: Part) -> Done:
        await ctx.store.set("worked", ev.n)
        async with ctx.store.edit_state() as kept:
            kept[f"edited{ev.n}"] = True
        await ctx.memo("paid", _pay)
        await self.gate.at(f"work {ev.n}")
        if ev.n in self.failing:
            raise LookupError(f"{ev.n}{self.more}")
        return Done(n=ev.n)

    @step
    async def join(self, parts: list[Done]) -> StopEvent:
        await self.gate.at("join")
        if -1 in self.failing:
            raise LookupError("join")
        return StopEvent(result=sorted(part.n for part in parts))

    @catch_error
    async def rescue(self, ev: StepFailedEvent) -> Done | StopEvent:
        self.got.append(ev)
        await self.gate.at(f"rescue {ev.step_name}")
        if -2 in self.failing:
            raise ValueError("rescue")
        if ev.step_name == "join":
            return StopEvent(result="rescued")
        return Done(n=100 + ev.input_event.n)


class Bulk(Flow):
    """Joins large parts."""

    @step
    async def work(self, ctx: Context, ev: Part) -> None:  # type: ignore[override]
        """Nothing is done."""

    @step
    async def join(self, parts: list[Part]) -> StopEvent:  # type: ignore[override]
        raise LookupError("join")

    @catch_error
    async def rescue(self, ev: StepFailedEvent) -> StopEvent:
        self.got.append(ev)
        return StopEvent(result="rescued")


class FirstTwo(Bulk):
    """Joins the first two parts."""

    @step
    async def join(self, parts: Annotated[list[Part], Collect(Take(2))]) -> StopEvent:  # type: ignore[override]
        raise LookupError("join")


class Tries(Definition):
    """Its step is tried three times."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.got: list[StepFailedEvent] = []

    @step(retry_policy=retry_policy(stop=stop_after_attempt(3), wait=wait_none()))
    async def work(self, ev: StartEvent) -> StopEvent:
        await self.gate.at("work")
        raise LookupError("work")

    @catch_error
    async def rescue(self, ev: StepFailedEvent) -> StopEvent:
        self.got.append(ev)
        return StopEvent(result="rescued")


class Slow(Tries):
    """Its step takes too long, in each of two attempts."""

    @step(timeout=0.001, retry_policy=retry_policy(stop=stop_after_attempt(2), wait=wait_none()))
    async def work(self, ev: StartEvent) -> StopEvent:
        await self.gate.at("never")
        return StopEvent()


class Waits(Tries):
    """Its step waits for an answer that does not come, and has shown events before."""

    @step
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:  # type: ignore[override]
        await ctx.memo("paid", _pay)
        await ctx.wait_for_event(Answer, timeout=30)
        return StopEvent()


class Picky(Tries):
    """Its step is tried again after other errors only."""

    @step(retry_policy=retry_policy(retry=retry_if_exception_type(ValueError)))
    async def work(self, ev: StartEvent) -> StopEvent:
        await self.gate.at("work")
        raise LookupError("work")


@pytest.fixture
async def worlds(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[World]]:
    """Those that a test has made; their tasks are closed in the end."""
    monkeypatch.setattr(commits, "GATHER_SECONDS", 0)
    monkeypatch.setattr(commits, "LATER_SECONDS", 0)
    made: list[World] = []
    yield made
    for world in made:
        for each in world.made:
            await each.close()


async def begun(worlds: list[World], flow: Definition, **fields: Any) -> World:
    """Start a run `r` of a flow."""
    world = World(Clock(), flow)
    worlds.append(world)
    await world.begin()
    world.start("r", **fields)
    await world.pump()
    return world


CANCELLED = Cancelled()
COMPLETED = Completed(step="other", event_type="StopEvent", event="{}")


class Late:
    """A log before a broker that takes its time, and refuses the records of a topic then."""

    def __init__(self, log: Log, topic: str) -> None:
        self._log = log
        self._topic = topic
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()

    async def commit(
        self, records: Sequence[Outgoing], changes: Mapping[bytes, bytes | None]
    ) -> Receipt:
        refused = [record for record in records if record.topic == self._topic]
        if not refused:
            return await self._log.commit(records, changes)
        self.asked.set()
        await self.answers.wait()
        raise RecordsRefused([(record, MessageSizeTooLargeError()) for record in refused])

    async def close(self) -> None:
        await self._log.close()


async def reach(world: World, place: str) -> None:
    """Let things happen until a step waits at *place*."""
    for _ in range(50):
        if world.flow.gate.waiting.get(place):
            return
        await turns()
        await world.pump()
    raise AssertionError(f"no step comes to {place!r}: {world.flow.gate.entered}")


async def go(world: World, *places: str) -> None:
    """Let steps pass these places, one after the other, and everything that follows happen."""
    for place in places:
        await reach(world, place)
        await world.open(place)


def result(world: World, run_id: str = "r") -> object:
    end = [each for each in world.happenings(run_id) if each.terminal][-1]
    assert isinstance(end, Completed), end
    return decoded(StopEvent, end.event.encode()).result


class TestBranch:
    async def test_a_join_gets_what_the_handler_returns(self, worlds: list[World]) -> None:
        """The run goes on, without a dead letter; the history says what was raised and sent."""
        flow = Flow()
        flow.failing = {1}
        world = await begun(worlds, flow)
        await go(world, "work 0", "work 1", "rescue work", "join")

        assert result(world) == [0, 101]
        assert world.letters() == []
        assert world.caught == [("work", "rescue")]
        raised = [one for one in world.history() if one.outcome == "raised"]
        assert [(one.step, one.sent) for one in raised] == [("work", ("StepFailedEvent",))]

    async def test_the_join_waits_for_the_handler(self, worlds: list[World]) -> None:
        """Also if the worker dies while the handler runs, and while its event is on its way."""
        flow = Flow()
        flow.failing = {1}
        world = await begun(worlds, flow)
        await go(world, "work 0", "work 1")
        assert "join" not in flow.gate.entered
        await world.restart()
        await go(world, "rescue work", "join")

        assert result(world) == [0, 101]
        assert len(world.topics[FAILURES]) == 1

    async def test_a_failed_step_is_not_run_again_after_a_crash(self, worlds: list[World]) -> None:
        """Failure and event are one commit."""
        flow = Flow()
        flow.failing = {0, 1}
        world = await begun(worlds, flow)
        world.hold = True
        flow.gate.open("work 0")
        await turns()
        # Not committed: the step runs again elsewhere.
        world.hold = False
        await world.restart()
        # One handler runs at a time in a run.
        await go(world, "work 0", "work 1", "rescue work", "rescue work", "join")

        assert result(world) == [100, 101]
        assert len(world.topics[FAILURES]) == 2

    async def test_nothing_of_the_failed_step_stays(self, worlds: list[World]) -> None:
        """Neither what it recorded nor the notes of its edits; the edits themselves do."""
        flow = Flow()
        flow.failing = {0, 1}
        world = await begun(worlds, flow)
        await go(world, "work 0", "work 1")

        assert not world.kept(state.EDIT)
        assert not world.kept(state.CALL)
        prefix = state.context_prefix("r")
        assert sorted(world.kept(prefix)) == [prefix + b"edited0", prefix + b"edited1"]
        await go(world, "rescue work", "rescue work", "join")
        assert result(world) == [100, 101]
        # All but positions, and the end.
        left = [key for key in world.state if not key.startswith((state.POSITION, state.META))]
        assert left == [state.end_key("r")]

    async def test_a_join_that_fails_loses_its_events(self, worlds: list[World]) -> None:
        """The handler has them."""
        flow = Flow()
        flow.failing = {-1}
        world = await begun(worlds, flow)
        await go(world, "work 0", "work 1", "join")
        assert not world.kept(state.MEMBER)
        await go(world, "rescue join")

        assert result(world) == "rescued"
        (got,) = flow.got
        assert isinstance(got.input_event, JoinedEvents)
        assert sorted(one["n"] for one in got.input_event.events) == [0, 1]

    async def test_with_too_many_handlers_in_one_lineage_the_run_fails(
        self, worlds: list[World]
    ) -> None:
        """Their counts would not fit into a header, and no budget could be kept."""
        flow = Flow()
        flow.failing = {5}
        world = await begun(worlds, flow)
        many = tuple((f"handler{number:04}", 1) for number in range(71))
        world.send(Part(n=5), "r", event_id="x", parent_id="y", recoveries=many)
        await world.pump()
        await go(world, "work 5")

        end = world.end("r")
        assert isinstance(end, Failed)
        assert (end.step, end.failure.message) == ("work", "5")
        assert (flow.got, len(world.letters())) == ([], 1)


class TestSizes:
    async def test_of_a_join_that_no_record_holds_the_number_is_told(
        self, worlds: list[World]
    ) -> None:
        flow = Bulk()
        flow.size = MAX_VALUE_BYTES // 3
        world = await begun(worlds, flow, parts=4)
        await turns()
        await world.pump()

        assert result(world) == "rescued"
        (got,) = flow.got
        assert isinstance(got.input_event, JoinedEvents)
        assert (got.input_event.events, got.input_event.left_out) == ([], 4)
        assert isinstance(got.exception, LookupError)

    async def test_a_join_that_takes_some_has_those(self, worlds: list[World]) -> None:
        """The rest is none of its events."""
        flow = FirstTwo()
        world = await begun(worlds, flow, parts=4)
        await turns()
        await world.pump()

        (got,) = flow.got
        assert isinstance(got.input_event, JoinedEvents)
        assert len(got.input_event.events) == 2

    async def test_the_largest_event_has_a_short_failure(self, worlds: list[World]) -> None:
        """And can wait for a resume: the entry of suspended work holds it."""
        flow = Flow()
        flow.failing, flow.size, flow.more = {0, -2}, MAX_VALUE_BYTES - 100, "!" * 50_000
        world = await begun(worlds, flow, parts=1)
        await go(world, "work 0", "rescue work")

        (got,) = flow.got
        assert len(got.input_event["text"]) == flow.size
        assert (type(got.exception), str(got.exception)) == (LookupError, f"0{'!' * 199}")
        assert not hasattr(got.exception, "__notes__")
        (kept,) = world.kept(state.AWAITING_RESUME)
        assert kept.endswith(b"\0rescue")
        assert len(world.state[kept]) <= MAX_RECORD_BYTES

    async def test_an_event_that_leaves_no_room_is_not_handled(self, worlds: list[World]) -> None:
        """Another client has written it."""
        flow = Flow()
        flow.failing = {5}
        world = await begun(worlds, flow, parts=1)
        large = Part(n=5, text="x" * (MAX_RECORD_BYTES - 3_000))
        world.send(large, "r", event_id="large", parent_id="x")
        await world.pump()
        await go(world, "work 5")

        end = world.end("r")
        assert isinstance(end, Failed)
        assert (end.step, end.failure.type) == ("work", "LookupError")
        assert len(world.letters()) == 1


class TestRefused:
    async def test_a_refused_result_is_handled(self, worlds: list[World]) -> None:
        """The neighbours in the commit are committed."""
        flow = Flow()
        world = await begun(worlds, flow)
        refuse(
            world,
            lambda each: each.topic == TOPICS.event("Done") and b'"n":1}' in (each.value or b""),
        )
        await go(world, "work 0", "work 1", "rescue work", "join")

        assert result(world) == [0, 101]
        (got,) = flow.got
        assert type(got.exception).__name__ == "ResultRefused"
        assert got.attempts == 1
        assert world.letters() == []
        assert world.caught == [("work", "rescue")]
        assert world.lost == []
        raised = [one for one in world.history() if one.outcome == "raised"]
        assert [one.sent for one in raised] == [("StepFailedEvent",)]

    async def test_a_refused_join_is_handled(self, worlds: list[World]) -> None:
        """It has its events, which the draft had removed with the result."""
        flow = Flow()
        world = await begun(worlds, flow)
        refuse(world, lambda each: each.topic == TOPICS.runs and b"[0,1]" in (each.value or b""))
        await go(world, "work 0", "work 1", "join", "rescue join")

        assert result(world) == "rescued"
        (got,) = flow.got
        assert isinstance(got.input_event, JoinedEvents)
        assert len(got.input_event.events) == 2

    async def test_if_the_handlers_event_is_refused_the_run_fails(
        self, worlds: list[World]
    ) -> None:
        """With the step's own error, once, and the step waits for a resume."""
        flow = Flow()
        flow.failing = {1}
        world = await begun(worlds, flow)
        refuse(world, lambda each: each.topic == FAILURES)
        await go(world, "work 0", "work 1")

        end = world.end("r")
        assert isinstance(end, Failed)
        assert (end.step, end.failure.type, end.failure.message) == ("work", "LookupError", "1")
        assert [letter.reason for letter in world.letters()] == ["failed"]
        assert (world.caught, world.lost) == ([], [])
        flow.failing = set()
        refuse(world, lambda _: False)
        world.happen(Resumed(), "r", epoch=1, event_id="again")
        await world.pump()
        await go(world, "work 1", "join")
        assert result(world) == [0, 1]

    async def test_result_and_event_are_both_refused(self, worlds: list[World]) -> None:
        """That is the failure of the step."""
        flow = Flow()
        world = await begun(worlds, flow)
        refuse(world, lambda each: each.topic in (TOPICS.event("Done"), FAILURES))
        await go(world, "work 0")

        end = world.end("r")
        assert isinstance(end, Failed)
        assert (end.step, end.failure.type) == ("work", "ResultRefused")
        assert world.lost == []

    @pytest.mark.parametrize("end", [CANCELLED, COMPLETED], ids=["cancelled", "completed"])
    async def test_a_run_that_has_ended_meanwhile_gets_no_handler(
        self, worlds: list[World], end: Lifecycle
    ) -> None:
        """The refusal comes after the end was read: what is added now stays behind the run."""
        flow = Flow()
        world = await begun(worlds, flow)
        await reach(world, "work 0")
        await reach(world, "work 1")
        log = Late(world.log, TOPICS.event("Done"))
        world.task.commits._log = log
        flow.gate.open("work 0")
        async with asyncio.timeout(10):
            await log.asked.wait()
        world.happen(end, "r")
        await world.pump()
        log.answers.set()
        for _ in range(10):
            await turns()
            await world.pump()

        assert (world.topics[FAILURES], flow.got, world.lost) == ([], [], [])
        kept = sorted(key.rsplit(b"\0", 1)[-1] for key in world.kept(state.AWAITING_RESUME))
        assert kept == ([b"work", b"work"] if end is CANCELLED else [])
        if end is COMPLETED:
            left = [key for key in world.state if not key.startswith((state.POSITION, state.META))]
            assert left == [state.end_key("r")]


class TestRetries:
    async def test_a_handler_comes_after_the_last_attempt(self, worlds: list[World]) -> None:
        """With the number of attempts, and the time since the first began."""
        flow = Tries()
        world = await begun(worlds, flow)
        for _ in range(3):
            assert flow.got == []
            await go(world, "work")
            world.clock.ms += 1_000
            await turns()

        assert result(world) == "rescued"
        (got,) = flow.got
        assert got.attempts == 3
        outcomes = [one.outcome for one in world.history() if one.step == "work"]
        assert outcomes == ["retried", "retried", "raised"]

    async def test_an_error_that_is_not_tried_again_is_handled_at_once(
        self, worlds: list[World]
    ) -> None:
        flow = Picky()
        world = await begun(worlds, flow)
        await go(world, "work")

        assert result(world) == "rescued"
        assert flow.got[0].attempts == 1

    async def test_a_steps_own_timeout_is_a_failure(self, worlds: list[World]) -> None:
        """Also that of a retry."""
        flow = Slow()
        world = await begun(worlds, flow)
        async with asyncio.timeout(10):
            while not flow.got:
                await asyncio.sleep(0.001)
                await world.pump()
        await turns()
        await world.pump()

        assert result(world) == "rescued"
        assert (type(flow.got[0].exception), flow.got[0].attempts) == (StepTimeoutError, 2)

    async def test_a_wait_that_ends_without_an_answer_is_a_failure(
        self, worlds: list[World], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing of the wait stays."""
        clock = Clock()
        monkeypatch.setattr(task, "BrokerClock", lambda *_: clock)
        monkeypatch.setattr(waking, "LOOK_SECONDS", 0.001)
        flow = Waits()
        world = World(clock, flow)
        worlds.append(world)
        await world.begin()
        world.start("r")
        await world.pump()
        for _ in range(10):
            await turns()
            await world.pump()
        clock.ms += 31_000
        world.read_all()
        async with asyncio.timeout(10):
            while not flow.got:
                await asyncio.sleep(0.001)
                await world.pump()
        await turns()
        await world.pump()

        assert result(world) == "rescued"
        assert isinstance(flow.got[0].exception, TimeoutError)
        assert flow.got[0].attempts == 1
        left = [key for key in world.state if not key.startswith((state.POSITION, state.META))]
        assert left == [state.end_key("r")]


class TestResume:
    async def test_after_a_handler_has_failed_its_work_is_resumed(
        self, worlds: list[World]
    ) -> None:
        """Not that of the step before it."""
        flow = Flow()
        flow.failing = {1, -2}
        world = await begun(worlds, flow)
        await go(world, "work 0", "work 1", "rescue work")
        end = world.end("r")
        assert isinstance(end, Failed)
        assert (end.step, end.failure.message) == ("rescue", "rescue")
        (letter,) = world.letters()
        assert (letter.step, letter.topic) == ("rescue", FAILURES)

        flow.failing = {1}
        entered = flow.gate.entered.count("work 1")
        world.happen(Resumed(), "r", epoch=1, event_id="again")
        await world.pump()
        await go(world, "rescue work", "join")
        assert result(world) == [0, 101]
        assert flow.gate.entered.count("work 1") == entered

    async def test_a_failure_that_was_caught_before_a_cancel_is_handled_after_the_resume(
        self, worlds: list[World]
    ) -> None:
        """The handler's event came late: it waits with the run."""
        flow = Flow()
        flow.failing = {1}
        world = await begun(worlds, flow)
        await go(world, "work 0", "work 1")
        world.happen(Cancelled(), "r")
        await world.pump()
        assert [key.endswith(b"\0rescue") for key in world.kept(state.AWAITING_RESUME)] == [True]
        world.happen(Resumed(), "r", epoch=1, event_id="again")
        await world.pump()
        await go(world, "rescue work", "join")

        assert result(world) == [0, 101]
