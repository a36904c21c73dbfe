"""Runs in memory, through the public API: what an application engineer sees."""

import asyncio
import gc
import logging
import re
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel
from tenacity import wait_fixed

from fleet import (
    Context,
    ContextStateError,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowConfigurationError,
    WorkflowFailedEvent,
    WorkflowHandler,
    WorkflowRuntimeError,
    WorkflowTimedOutEvent,
    WorkflowTimeoutError,
    WorkflowValidationError,
    retry_policy,
    step,
)
from fleet.client import patience
from fleet.config import settings
from fleet.records.events import UnencodableEvent
from fleet.workflow.errors import (
    OtherReturned,
    RunConflict,
    StepTimeoutError,
    UnexpectedResult,
    UnfitResult,
    UnroutableEvent,
)

#: What is no time limit of a run: 1.7e308 seconds have no deadline in milliseconds.
NO_DURATIONS: list[Any] = [
    *(0, -1, float("nan"), float("inf"), 1.7e308, 10**400, 320_000_000.0),
    *("5", True, Decimal(5), [5]),
]


class JokeEvent(Event):
    joke: str


class Progress(Event):
    """Shown on the stream; no step names it."""

    percent: int


class Judgement(StopEvent):
    verdict: str


@dataclass
class Verdict:
    """A result type of the user's, whose own check raises."""

    word: str

    def __post_init__(self) -> None:
        {"good": 1, "bad": 0}[self.word]


class Special(Exception):
    """An application's own error."""


class JokeFlow(Workflow):
    @step
    async def generate(self, ev: StartEvent) -> JokeEvent:
        return JokeEvent(joke=f"a joke about {ev.get('topic')}")

    @step
    async def critique(self, ev: JokeEvent) -> StopEvent:
        return StopEvent(result=f"good: {ev.joke}")


class Waiting(Workflow):
    """Its step waits until it is let go; what it was asked for is its result.

    A quick run waits for nothing: when it has ended, everything that came before is in the log.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.entered = asyncio.Event()
        self.proceed = asyncio.Event()
        self.running = 0
        self.most = 0

    @step(num_workers=1000)
    async def wait(self, ev: StartEvent) -> StopEvent:
        if ev.get("quick"):
            return StopEvent()
        self.running += 1
        self.most = max(self.most, self.running)
        self.entered.set()
        try:
            await self.proceed.wait()
        finally:
            self.running -= 1
        return StopEvent(result=ev.get("topic"))


class Failing(Workflow):
    """Its step raises what it is given by name."""

    errors: ClassVar[dict[str, BaseException]] = {}

    @step
    async def fail(self, ev: StartEvent) -> StopEvent:
        raise self.errors[ev.get("name")]


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that asyncio or the engine has to report as its own failure."""
    yield
    said = [each for each in caplog.get_records("call") if each.name == "asyncio"]
    assert [each.getMessage() for each in said] == []


@pytest.fixture
def log_nothing() -> Iterator[None]:
    logging.getLogger("fleet").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("fleet").setLevel(logging.NOTSET)


class Tagged(Event):
    tags: list[str]


class TestResult:
    async def test_a_run_returns_its_result(self) -> None:
        """`await Flow().run(field=...)` gives the result of the StopEvent."""
        assert await JokeFlow(timeout=60).run(topic="pirates") == "good: a joke about pirates"

    async def test_a_start_event_may_be_given_whole(self) -> None:
        """`run(StartEvent(...))` is the same."""
        assert await JokeFlow().run(StartEvent(topic="x")) == "good: a joke about x"

    async def test_a_result_of_ones_own_type_comes_whole(self) -> None:
        """A StopEvent subclass, and the type that `result_event_type` names."""

        class Begin(Event):
            topic: str

        class End(Event):
            text: str

        class Judging(Workflow):
            @step
            async def judge(self, ev: StartEvent) -> Judgement:
                return Judgement(verdict="good")

        class Own(Workflow):
            result_event_type: ClassVar[type[Event] | None] = End

            @step
            async def only(self, ev: Begin) -> End:
                return End(text=ev.topic)

        assert await Judging().run() == Judgement(verdict="good")
        assert await Own().run(topic="x") == End(text="x")
        assert await Own().run(Begin(topic="y")) == End(text="y")

    async def test_a_result_that_json_would_change_is_refused(self) -> None:
        """In memory as on Kafka, so that a test shows what a fleet would give."""

        class Part(BaseModel):
            number: int

        class Flow(Workflow):
            @step
            async def only(self, ev: StartEvent) -> StopEvent:
                return StopEvent(result={"parts": (Part(number=1),), 2: None})

        with pytest.raises(UnencodableEvent, match="result: a key of type int would come back"):
            await Flow().run()

    async def test_each_step_has_a_copy_of_its_own(self) -> None:
        """What one appends to a list of its event, another does not see; nor does its sender."""
        seen: dict[str, list[str]] = {}
        sent: list[Tagged] = []

        class Flow(Workflow):
            @step
            async def begin(self, ev: StartEvent) -> Tagged:
                sent.append(Tagged(tags=["a"]))
                return sent[0]

            @step
            async def first(self, ev: Tagged) -> StopEvent | None:
                ev.tags.append("first")
                seen["first"] = ev.tags
                return StopEvent() if len(seen) > 1 else None

            @step
            async def second(self, ev: Tagged) -> StopEvent | None:
                ev.tags.append("second")
                seen["second"] = ev.tags
                return StopEvent() if len(seen) > 1 else None

        await Flow().run()
        assert seen == {"first": ["a", "first"], "second": ["a", "second"]}
        assert sent[0].tags == ["a"]

    async def test_an_event_is_sent_as_it_is_when_it_is_sent(self) -> None:
        """What its step does to it later stays with the step."""

        class Flow(Workflow):
            @step
            async def begin(self, ctx: Context, ev: StartEvent) -> Tagged | None:
                tagged = Tagged(tags=["a"])
                ctx.send_event(tagged)
                tagged.tags.append("b")
                return None

            @step
            async def end(self, ev: Tagged) -> StopEvent:
                return StopEvent(result=ev.tags)

        assert await Flow().run() == ["a"]

    async def test_a_step_can_take_that_an_event_cannot_be_sent(self) -> None:
        """It is told in the line that sends or shows it."""
        wrong = Tagged.model_construct(tags={"a"})  # type: ignore[arg-type]

        class Flow(Workflow):
            @step
            async def begin(self, ctx: Context, ev: StartEvent) -> Tagged:
                for send in (ctx.send_event, ctx.write_event_to_stream):
                    with pytest.raises(UnencodableEvent, match="tags: a set would come back"):
                        send(wrong)
                return Tagged(tags=["a"])

            @step
            async def end(self, ev: Tagged) -> StopEvent:
                return StopEvent(result=ev.tags)

        assert await Flow().run() == ["a"]

    async def test_a_run_may_have_no_result(self) -> None:
        """A StopEvent without a result ends the run with None."""

        class Flow(Workflow):
            @step
            async def only(self, ev: StartEvent) -> StopEvent:
                return StopEvent()

        assert await Flow().run() is None

    async def test_the_first_result_counts(self) -> None:
        """What other branches would still give is stopped with the run."""

        class Flow(Workflow):
            stopped = False

            @step
            async def quick(self, ev: StartEvent) -> StopEvent:
                return StopEvent(result="quick")

            @step
            async def slow(self, ev: StartEvent) -> StopEvent:
                try:
                    await asyncio.Event().wait()
                finally:
                    self.stopped = True
                raise AssertionError("never")

        flow = Flow()
        assert await flow.run() == "quick"
        await turns()
        assert flow.stopped

    async def test_a_step_may_loop(self) -> None:
        """Events may lead back to the step that sent them."""

        class Count(Event):
            number: int

        class Flow(Workflow):
            @step
            async def begin(self, ev: StartEvent) -> Count:
                return Count(number=0)

            @step
            async def count(self, ev: Count) -> Count | StopEvent:
                return (
                    StopEvent(result=ev.number) if ev.number == 50 else Count(number=ev.number + 1)
                )

        assert await Flow().run() == 50


class TestSideBySide:
    async def test_no_run_sees_anothers_result(self) -> None:
        """500 runs at once, each with its own result and its own values."""

        class Flow(Workflow):
            @step
            async def first(self, ctx: Context, ev: StartEvent) -> JokeEvent:
                await ctx.store.set("topic", ev.get("topic"))
                await asyncio.sleep(0)
                return JokeEvent(joke=ev.get("topic"))

            @step
            async def last(self, ctx: Context, ev: JokeEvent) -> StopEvent:
                return StopEvent(result=[ev.joke, await ctx.store.get("topic"), ctx.run_id])

        flow = Flow()
        handlers = [flow.run(topic=str(number)) for number in range(500)]
        results = await asyncio.gather(*handlers)
        for number, handler in enumerate(handlers):
            assert results[number] == [str(number), str(number), handler.run_id]
        assert len({handler.run_id for handler in handlers}) == 500

    async def test_two_instances_do_not_know_each_other(self) -> None:
        """Each workflow object has a log of its own, so the same run id is another run."""
        one, other = JokeFlow(), JokeFlow()
        runs = one.run(topic="a", run_id="1"), other.run(topic="b", run_id="1")
        assert [await run for run in runs] == ["good: a joke about a", "good: a joke about b"]

    def test_two_event_loops_one_after_the_other(self) -> None:
        """A workflow object outlives the loop that it first ran in."""
        flow = JokeFlow()
        for topic in ("a", "b"):

            async def run(topic: str = topic) -> Any:
                return await flow.run(topic=topic)

            assert asyncio.run(run()) == f"good: a joke about {topic}"

    def test_a_run_needs_a_loop(self) -> None:
        """Outside of one, the error is Python's own."""
        with pytest.raises(RuntimeError, match="no running event loop"):
            JokeFlow().run(topic="x")


@pytest.mark.usefixtures("log_nothing")
class TestErrors:
    @pytest.mark.parametrize(
        "error",
        [KeyError("bad joke"), Special("x"), ZeroDivisionError(), OSError(2, "no file")],
        ids=repr,
    )
    async def test_a_steps_error_is_raised_where_the_run_is_awaited(
        self, error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of the original type and text, with step, run and attempt in its notes."""
        monkeypatch.setitem(Failing.errors, "it", error)
        handler = Failing().run(name="it")
        with pytest.raises(type(error)) as caught:
            await handler
        assert str(caught.value) == str(error)
        assert caught.value.__notes__[0] == f"in step fail of run {handler.run_id}, attempt 1"
        assert "Traceback" in caught.value.__notes__[1]

    async def test_an_error_that_cannot_be_made_anew_is_named(self) -> None:
        """Errors of pydantic and groups have constructors of their own; they end a run as well."""

        class Flow(Workflow):
            @step
            async def fail(self, ev: StartEvent) -> StopEvent:
                if ev.get("group"):
                    raise ExceptionGroup("several", [ValueError("one")])
                return Judgement.model_validate({})

        with pytest.raises(WorkflowRuntimeError, match="ValidationError: 1 validation error"):
            await Flow().run()
        with pytest.raises(WorkflowRuntimeError, match="ExceptionGroup: several"):
            await Flow().run(group=True)

    @pytest.mark.parametrize(
        ("returned", "expected", "said"),
        [
            ("text", UnexpectedResult, "only returned str instead of an Event"),
            (JokeEvent(joke="x"), OtherReturned, "returned JokeEvent, and its annotation says"),
            (StopEvent(result=object()), UnencodableEvent, "cannot be sent: result: "),
            (StopEvent(result="x" * 1_100_000), WorkflowRuntimeError, "a record holds 1,000,000"),
        ],
        ids=["no event", "another event", "no JSON", "too large"],
    )
    async def test_a_result_that_cannot_be_taken_fails_the_run_and_no_other(
        self, returned: Any, expected: type[Exception], said: str
    ) -> None:
        """The error reaches who awaits the run, at once, and the workflow goes on."""

        class Flow(Workflow):
            @step
            async def only(self, ev: StartEvent) -> StopEvent:
                result: StopEvent = returned if ev.get("bad") else StopEvent(result="fine")
                return result

        flow = Flow(timeout=None)
        other = flow.run()
        with pytest.raises(expected, match=said):
            await flow.run(bad=True)
        assert await other == await flow.run() == "fine"

    async def test_a_result_type_that_raises_fails_the_run_and_no_other(self) -> None:
        """At the step that returns it: no caller could have the result."""

        class Flow(Workflow[Verdict]):
            @step
            async def only(self, ev: StartEvent) -> StopEvent:
                return StopEvent(result={"word": ev.get("word")})

        flow = Flow(timeout=None)
        handler, other = flow.run(word="ugly"), flow.run(word="good")
        with pytest.raises(UnfitResult, match=r"the result is no Verdict.*KeyError: 'ugly'"):
            await handler
        assert await other == await flow.run(word="good") == Verdict("good")

    async def test_what_a_step_sends_must_be_an_event(self) -> None:
        """The step itself gets the error, where it is made."""

        class Flow(Workflow):
            @step
            async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
                ctx.send_event("text")  # type: ignore[arg-type]
                return StopEvent()

        with pytest.raises(WorkflowRuntimeError, match="takes an event, not str"):
            await Flow().run()

    async def test_a_failed_attempt_leaves_nothing(self) -> None:
        """Neither events nor values of a step that fails take effect."""

        class Flow(Workflow):
            got: ClassVar[list[str]] = []

            @step
            async def begin(self, ctx: Context, ev: StartEvent) -> JokeEvent:
                await ctx.store.set("a", 1)
                ctx.send_event(JokeEvent(joke="sent"))
                ctx.send_event(StopEvent(result="ended"))
                raise Special("late")

            @step
            async def take(self, ev: JokeEvent) -> StopEvent:
                self.got.append(ev.joke)
                return StopEvent()

        with pytest.raises(Special, match="late"):
            await Flow().run()
        await turns()
        assert Flow.got == []

    async def test_an_error_ends_the_runs_other_steps(self) -> None:
        """Nothing of a failed run goes on."""

        class Flow(Workflow):
            stopped = False

            @step
            async def fail(self, ev: StartEvent) -> StopEvent:
                raise Special("x")

            @step
            async def slow(self, ev: StartEvent) -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    self.stopped = True

        flow = Flow()
        with pytest.raises(Special):
            await flow.run()
        await turns()
        assert flow.stopped


@pytest.mark.usefixtures("log_nothing")
class TestTime:
    async def test_a_run_that_takes_too_long_says_what_it_was_at(self) -> None:
        """The error has the reference's words, the timeout and the steps that run."""
        flow = Waiting(timeout=0.01)
        with pytest.raises(
            WorkflowTimeoutError,
            match=r"^Operation timed out after 0.01 seconds. Currently active steps: wait$",
        ) as caught:
            await flow.run()
        assert isinstance(caught.value, TimeoutError)
        await turns()
        assert flow.running == 0

    async def test_a_run_that_waits_says_for_what(self) -> None:
        """Its steps do not run: one sleeps, the other failed and is tried again later."""

        class Flow(Workflow):
            @step
            async def nap(self, ctx: Context, ev: StartEvent) -> StopEvent:
                await ctx.sleep(60)
                return StopEvent()

            @step(retry_policy=retry_policy(wait=wait_fixed(60)))
            async def work(self, ev: StartEvent) -> StopEvent:
                raise Special("busy")

        handler = Flow(timeout=0.2).run()
        with pytest.raises(WorkflowTimeoutError) as raised:
            await handler
        moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
        nap, work = raised.value.waiting
        assert re.fullmatch(f"nap: sleeps until {moment}", nap)
        assert re.fullmatch(f"work: attempt 2 at {moment}", work)
        words = "Operation timed out after 0.2 seconds. No steps active. Waiting: "
        assert str(raised.value) == f"{words}{nap}; {work}"
        (event,) = [event async for event in handler.stream_events()]
        assert event == WorkflowTimedOutEvent(timeout=0.2, active_steps=[], waiting=[nap, work])

    async def test_a_runs_own_timeout_replaces_the_workflows(self) -> None:
        """`run(timeout=...)` holds for this run only."""
        flow = Waiting(timeout=None)
        other = flow.run(topic="other")
        with pytest.raises(WorkflowTimeoutError, match=r"after 0\.01 seconds"):
            await flow.run(timeout=0.01)
        flow.proceed.set()
        assert await other == "other"

    async def test_a_step_that_takes_too_long_fails_its_run(self) -> None:
        """`@step(timeout=...)` is another error than the run's, and names the step."""

        class Flow(Workflow):
            @step(timeout=0.01)
            async def slow(self, ev: StartEvent) -> StopEvent:
                await asyncio.Event().wait()
                return StopEvent()

        with pytest.raises(StepTimeoutError, match=r"step slow took longer .* of 0.01 seconds"):
            await Flow(timeout=60).run()

    @pytest.mark.parametrize("seconds", NO_DURATIONS)
    async def test_a_workflows_timeout_is_a_duration(self, seconds: Any) -> None:
        """Not a number of seconds greater than 0 is refused when the workflow is made."""
        with pytest.raises(WorkflowConfigurationError, match="use None for no limit"):
            JokeFlow(timeout=seconds)

    @pytest.mark.parametrize("seconds", NO_DURATIONS)
    async def test_a_runs_timeout_is_a_duration(self, seconds: Any) -> None:
        """What is refused for the workflow is refused for one run, before it starts."""
        with pytest.raises(WorkflowConfigurationError, match="timeout"):
            JokeFlow().run(topic="x", timeout=seconds)


class TestCancel:
    async def test_a_cancelled_run_raises_to_who_awaits_it(self) -> None:
        """With the reason; its steps are stopped, other runs go on."""
        flow = Waiting()
        handler, other = flow.run(), flow.run(topic="other")
        await flow.entered.wait()
        await flow.run(quick=True)
        await handler.cancel_run("enough")
        with pytest.raises(WorkflowCancelledByUser, match=f"run {handler.run_id} .*: enough"):
            await handler
        await turns()
        assert flow.running == 1
        flow.proceed.set()
        assert await other == "other"

    async def test_a_run_can_be_cancelled_at_its_first_step(self) -> None:
        """Also while the commit that says that it started is still under way."""
        flow = Waiting()
        handler = flow.run()
        await flow.entered.wait()
        await handler.cancel_run("enough")
        with pytest.raises(WorkflowCancelledByUser):
            await asyncio.wait_for(asyncio.shield(handler), 0.5)

    async def test_a_run_can_be_cancelled_before_it_starts(self) -> None:
        """Then none of its steps runs."""
        flow = Waiting()
        handler = flow.run()
        await handler.cancel_run()
        with pytest.raises(WorkflowCancelledByUser):
            await handler
        assert not flow.entered.is_set()

    async def test_cancelling_an_ended_run_changes_nothing(self) -> None:
        """Its result stands, also for who asks later."""
        flow = JokeFlow()
        handler = flow.run(topic="x", run_id="1")
        result = await handler
        await handler.cancel_run()
        await turns()
        assert await handler == result
        assert await flow.run(topic="x", run_id="1") == result

    async def test_whoever_stops_waiting_does_not_stop_the_run(self) -> None:
        """Cancelling the await is not cancelling the run."""
        flow = Waiting()
        handler = flow.run(topic="x")
        await flow.entered.wait()
        waiter = asyncio.ensure_future(handler)
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        flow.proceed.set()
        assert await handler == "x"


class TestRunId:
    async def test_the_same_id_starts_one_run(self) -> None:
        """While it goes on and after its end, everybody gets the one result."""
        flow = Waiting()
        first, second = flow.run(topic="x", run_id="1"), flow.run(topic="x", run_id="1")
        await flow.entered.wait()
        third = flow.run(topic="x", run_id="1")
        await turns()
        assert flow.most == 1
        flow.proceed.set()
        assert [await run for run in (first, second, third)] == ["x", "x", "x"]
        assert await flow.run(topic="x", run_id="1") == "x"
        assert flow.most == 1

    async def test_the_order_of_fields_does_not_matter(self) -> None:
        """The same fields are the same start."""
        flow = JokeFlow()
        result = await flow.run(topic="x", style="dry", run_id="1")
        assert await flow.run(style="dry", topic="x", run_id="1") == result

    async def test_other_fields_are_a_conflict(self) -> None:
        """During the run and after it, the second caller hears it; the first run goes on."""
        flow = Waiting()
        first = flow.run(topic="x", run_id="1")
        with pytest.raises(RunConflict, match="run 1 was started earlier with other fields"):
            await flow.run(topic="y", run_id="1")
        flow.proceed.set()
        assert await first == "x"
        with pytest.raises(RunConflict):
            await flow.run(topic="y", run_id="1")

    @pytest.mark.usefixtures("log_nothing")
    async def test_a_failed_run_fails_everybody_with_its_id(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A repeat does not try again; it gets the first run's error."""
        monkeypatch.setitem(Failing.errors, "it", Special("x"))
        flow = Failing()
        for _ in range(2):
            with pytest.raises(Special, match="x"):
                await flow.run(name="it", run_id="1")

    @pytest.mark.parametrize(
        ("run_id", "told"),
        [
            ("", "cannot be a run id"),
            ("a\0b", "cannot be a run id"),
            ("\ud800", "leave out surrogates"),
            ("E" * 256, "at most 255 bytes in UTF-8"),
            ("é" * 128, "at most 255 bytes in UTF-8, .* has 256"),
            (7, "is text, not int"),
            (b"a", "is text, not bytes"),
        ],
    )
    async def test_what_is_no_id_is_refused(self, run_id: Any, told: str) -> None:
        """It is a record's key and part of others."""
        with pytest.raises(WorkflowConfigurationError, match=told):
            JokeFlow().run(topic="x", run_id=run_id)

    async def test_the_longest_id_is_taken(self) -> None:
        """In bytes, as it is written."""
        assert await JokeFlow().run(topic="x", run_id="é" * 127 + "e")


class TestStream:
    async def collected(self, handler: WorkflowHandler) -> list[Event]:
        return [event async for event in handler.stream_events()]

    async def test_what_steps_show_comes_in_order_and_the_result_last(self) -> None:
        """Also what they do not await, and also when nobody awaits the result."""

        class Flow(Workflow):
            @step
            async def first(self, ctx: Context, ev: StartEvent) -> JokeEvent:
                for number in range(5):
                    ctx.write_event_to_stream(JokeEvent(joke=str(number)))
                return JokeEvent(joke="x")

            @step
            async def last(self, ctx: Context, ev: JokeEvent) -> StopEvent:
                await ctx.write_event_to_stream(JokeEvent(joke="last"))
                return StopEvent(result=1)

        shown = await self.collected(Flow().run())
        assert shown == [
            *(JokeEvent(joke=str(number)) for number in range(5)),
            JokeEvent(joke="last"),
            StopEvent(result=1),
        ]

    async def test_it_can_be_followed_while_the_run_goes_on(self) -> None:
        """An event is there before the step that wrote it has ended."""

        class Flow(Workflow):
            def __init__(self) -> None:
                super().__init__()
                self.seen = asyncio.Event()

            @step
            async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
                ctx.write_event_to_stream(ev)
                await self.seen.wait()
                return StopEvent()

        flow = Flow()
        shown = []
        async for event in flow.run().stream_events():
            shown.append(type(event))
            flow.seen.set()
        assert shown == [StartEvent, StopEvent]

    async def test_an_event_of_any_type_can_be_shown(self) -> None:
        """Progress needs no annotation: `isinstance(event, Progress)` works at the reader."""

        class Flow(Workflow):
            @step
            async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
                ctx.write_event_to_stream(Progress(percent=50))
                return StopEvent()

        assert await self.collected(Flow().run()) == [Progress(percent=50), StopEvent()]

    @pytest.mark.usefixtures("log_nothing")
    async def test_the_stream_of_a_failed_run_ends(self) -> None:
        """What was shown before is there; awaiting the run then raises."""

        class Flow(Workflow):
            @step
            async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
                ctx.write_event_to_stream(ev)
                raise Special("x")

        handler = Flow().run(topic="x")
        with pytest.raises(Special) as raised:
            await handler
        shown, end = await self.collected(handler)
        assert shown == StartEvent(topic="x")
        assert isinstance(end, WorkflowFailedEvent)
        assert (end.step_name, end.exception, end.attempts) == ("only", raised.value, 1)

    async def test_runs_have_streams_of_their_own(self) -> None:
        """Nobody sees what another run shows."""

        class Flow(Workflow):
            @step
            async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
                for _ in range(3):
                    await ctx.write_event_to_stream(ev)
                return StopEvent(result=ev.get("topic"))

        flow = Flow()
        handlers = [flow.run(topic=str(number)) for number in range(20)]
        streams = await asyncio.gather(*(self.collected(handler) for handler in handlers))
        for number, shown in enumerate(streams):
            assert [event.get("topic", event.get("result")) for event in shown] == [str(number)] * 4


class TestSendEvent:
    class Collect(Workflow):
        """Ends when it was sent a joke from somewhere."""

        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> JokeEvent | None:
            if ev.get("many"):
                for number in range(ev.get("many")):
                    ctx.send_event(JokeEvent(joke=str(number)), step=ev.get("to"))
            return None

        @step
        async def take(self, ctx: Context, ev: JokeEvent) -> StopEvent | None:
            await ctx.store.set(f"jokes.{ev.joke}", ctx.attempt)
            return StopEvent(result=ev.joke) if ev.joke == "2" else None

        @step
        async def other(self, ev: JokeEvent) -> StopEvent | None:
            return StopEvent(result="other")

    async def test_a_step_sends_events_beside_its_result(self) -> None:
        """To every accepting step, or to the one that is named."""
        assert await self.Collect().run(many=3, to="take") == "2"
        assert await self.Collect().run(many=1, to="other") == "other"

    async def test_a_handler_sends_events_to_its_run(self) -> None:
        """They reach the steps like any other, and awaiting tells that they are in the log."""
        handler = self.Collect().run()
        await handler.send_event(JokeEvent(joke="2"), step="take")
        assert await handler == "2"

    async def test_a_handlers_event_need_not_be_awaited(self) -> None:
        """As with the reference, `send_event` may be called and forgotten."""
        handler = self.Collect().run()
        handler.send_event(JokeEvent(joke="2"), step="take")
        assert await handler == "2"

    @pytest.mark.usefixtures("log_nothing")
    async def test_an_event_for_a_step_that_does_not_take_it_fails(self) -> None:
        """The error names sender, event and what the step accepts, and stands at the send."""
        said = (
            "step begin sends JokeEvent, and step begin does not accept JokeEvent; begin accepts "
            "StartEvent, and JokeEvent is for other, take"
        )
        with pytest.raises(UnroutableEvent, match=said) as raised:
            await self.Collect().run(many=1, to="begin")
        assert "ctx.send_event(JokeEvent(" in "".join(raised.value.__notes__)

    @pytest.mark.usefixtures("log_nothing")
    async def test_an_event_for_a_step_that_does_not_exist_fails(self) -> None:
        """The error names the steps."""
        said = "there is no step 'nobody'; the steps are begin, other, take"
        with pytest.raises(UnroutableEvent, match=said):
            await self.Collect().run(many=1, to="nobody")


class TestLimits:
    async def test_num_workers_bounds_a_step_of_each_run(self) -> None:
        """Two runs of a step that takes two have four attempts in flight, and no more."""

        class Flow(Workflow):
            running = 0
            most = 0

            @step
            async def begin(self, ctx: Context, ev: StartEvent) -> JokeEvent | None:
                for number in range(10):
                    ctx.send_event(JokeEvent(joke=str(number)))
                return None

            @step(num_workers=2)
            async def work(self, ctx: Context, ev: JokeEvent) -> StopEvent | None:
                self.running += 1
                self.most = max(self.most, self.running)
                for _ in range(5):
                    await asyncio.sleep(0)
                self.running -= 1
                return StopEvent() if ev.joke == "9" else None

        flow = Flow()
        await asyncio.gather(flow.run(), flow.run())
        assert flow.most == 4

    async def test_num_concurrent_runs_bounds_the_runs_of_an_object(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The others wait in their order, and their time does not count meanwhile."""
        monkeypatch.setattr(patience, "GRACE_SECONDS", 0)
        flow = Waiting(num_concurrent_runs=2, timeout=None)
        handlers = [flow.run(topic=0), flow.run(topic=1)]
        handlers += [flow.run(topic=number, timeout=0.2) for number in range(2, 6)]
        await flow.entered.wait()
        await asyncio.sleep(0.4)
        assert flow.running == 2
        await handlers[4].cancel_run()
        flow.proceed.set()
        results = await asyncio.gather(*handlers, return_exceptions=True)
        assert isinstance(results.pop(4), WorkflowCancelledByUser)
        assert (results, flow.most) == ([0, 1, 2, 3, 5], 2)

    @pytest.mark.parametrize("count", [0, -1, 1.5, True, "2"])
    def test_num_concurrent_runs_is_a_number(self, count: Any) -> None:
        """As with the reference."""
        said = "num_concurrent_runs must be an integer greater than 0 or None"
        with pytest.raises(WorkflowConfigurationError, match=said):
            Waiting(num_concurrent_runs=count)

    async def test_slots_bound_all_runs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """FLEET_SLOTS holds for everything that one workflow object runs."""
        monkeypatch.setenv("FLEET_SLOTS", "3")
        settings.current.cache_clear()
        try:
            flow = Waiting()
            handlers = [flow.run(topic=number) for number in range(10)]
            await flow.entered.wait()
            await turns()
            assert flow.running == 3
            flow.proceed.set()
            assert await asyncio.gather(*handlers) == list(range(10))
            assert flow.most == 3
        finally:
            settings.current.cache_clear()


class TestStore:
    async def test_values_go_from_step_to_step(self) -> None:
        """What a step wrote, the steps after it read; a run begins with nothing."""

        class Flow(Workflow):
            @step
            async def first(self, ctx: Context, ev: StartEvent) -> JokeEvent:
                assert await ctx.store.to_dict() == {}
                await ctx.store.set("scores", {"a": 1})
                await ctx.store.set("scores.b", 2)
                return JokeEvent(joke="x")

            @step
            async def last(self, ctx: Context, ev: JokeEvent) -> StopEvent:
                return StopEvent(result=await ctx.store.get("scores"))

        flow = Flow()
        assert await flow.run() == await flow.run() == {"a": 1, "b": 2}

    @pytest.mark.usefixtures("log_nothing")
    async def test_a_value_that_cannot_be_kept_fails_the_step(self) -> None:
        """The error names the path."""

        class Flow(Workflow):
            @step
            async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
                await ctx.store.set("a.b", object())
                return StopEvent()

        with pytest.raises(ContextStateError, match=r"the value at 'a\.b' cannot be kept"):
            await Flow().run()


class TestMisuse:
    async def test_a_workflow_without_steps_cannot_be_made(self) -> None:
        """The graph is checked when the workflow is, not when it runs."""

        class Empty(Workflow): ...

        with pytest.raises(WorkflowValidationError, match="Empty is not a valid workflow"):
            Empty()

    async def test_a_wrong_start_is_refused_before_anything_runs(self) -> None:
        """By the call itself, not by the run."""

        class Begin(StartEvent):
            topic: str

        class Flow(Workflow):
            @step
            async def only(self, ev: Begin) -> StopEvent:
                return StopEvent()

        with pytest.raises(WorkflowConfigurationError, match="Flow cannot start: topic"):
            Flow().run()
        with pytest.raises(WorkflowConfigurationError, match="takes no topik"):
            Flow().run(topic="x", topik="y")


class TestLeftovers:
    def tasks(self) -> list[str]:
        """Return the names of the asyncio tasks beside this test's own."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        return sorted(task.get_name() for task in others)

    async def test_a_dropped_workflow_leaves_no_task_behind(self) -> None:
        """Its log closes when nobody holds it or a run of it."""
        assert await JokeFlow().run(topic="x") == "good: a joke about x"
        gc.collect()
        await turns()
        assert self.tasks() == []

    async def test_a_run_keeps_its_workflow(self) -> None:
        """`Flow().run()` may be all that anybody holds."""
        flow = Waiting()
        proceed, entered, dropped = flow.proceed, flow.entered, weakref.ref(flow)
        handler = flow.run(topic="x")
        del flow
        await entered.wait()
        gc.collect()
        assert dropped() is not None
        proceed.set()
        assert await handler == "x"
        del handler
        await turns()
        gc.collect()
        assert dropped() is None
        await turns()
        assert self.tasks() == []

    async def test_a_finished_run_is_not_held(self) -> None:
        """A workflow that runs for days must not keep every handler."""
        flow = JokeFlow()
        handlers = [flow.run(topic="x") for _ in range(10)]
        await asyncio.gather(*handlers)
        held = [weakref.ref(handler) for handler in handlers]
        del handlers
        await turns()
        gc.collect()
        assert [each() for each in held] == [None] * 10

    def test_a_closed_loop_is_not_held(self) -> None:
        """A workflow at module level, run by `asyncio.run` again and again, must not grow."""
        flow = JokeFlow()
        loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

        async def run() -> None:
            await flow.run(topic="x")
            loops.append(weakref.ref(asyncio.get_running_loop()))

        for _ in range(3):
            asyncio.run(run())
        gc.collect()
        assert [each() for each in loops[:-1]] == [None, None]


async def turns() -> None:
    """Let everything happen that waits for nothing but its turn."""
    for _ in range(30):
        await asyncio.sleep(0)
