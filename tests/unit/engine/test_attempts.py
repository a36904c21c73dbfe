"""Steps in flight: the limits, and what an attempt ends with."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from fleet import Context, Event, StartEvent, StopEvent, WorkflowRuntimeError, step
from fleet.engine.admission.concurrent_runs import ConcurrentRuns
from fleet.engine.admission.run_queues import Users
from fleet.engine.admission.slots import Slots
from fleet.engine.attempts import Attempt, Attempts
from fleet.engine.context.own_commits import OwnCommits
from fleet.engine.step_threads import StepThreads
from fleet.engine.transitions.draft import Work
from fleet.engine.transitions.outcomes import Outcome, Raised, Returned, Sent
from fleet.records.envelope import Envelope, idempotency_key
from fleet.records.log import Delivered
from fleet.records.state import MemoryState, context_prefix
from fleet.records.topics import Topics
from fleet.workflow import definition
from fleet.workflow.definition import Definition
from fleet.workflow.errors import StepTimeoutError, UnexpectedResult


class Part(Event):
    number: int = 0


Body = Callable[[Context, StartEvent], Awaitable[Any]]


class Gate:
    """Steps that wait in here until they are let go."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.most = 0
        self._open: dict[str, asyncio.Event] = {}

    async def pass_through(self, run_id: str) -> None:
        self.inside.append(run_id)
        self.most = max(self.most, len(self.inside))
        try:
            await self._open.setdefault(run_id, asyncio.Event()).wait()
        finally:
            self.inside.remove(run_id)

    def let_go(self, run_id: str) -> None:
        self._open.setdefault(run_id, asyncio.Event()).set()


class Flow(Definition):
    """Steps that do what the test says."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.body: Body | None = None

    @step
    async def free(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
        assert self.body is not None
        result: StopEvent | None = await self.body(ctx, ev)
        return result

    @step(num_workers=2)
    async def narrow(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await self.gate.pass_through(ctx.run_id)
        return StopEvent(result=ctx.run_id)

    @step(timeout=0.01)
    async def quick(self, ctx: Context, ev: StartEvent) -> StopEvent:
        assert self.body is not None
        result: StopEvent = await self.body(ctx, ev)
        return result


class Stream:
    """Keeps what is written, and acknowledges when it is let."""

    def __init__(self) -> None:
        self.written: list[tuple[str, int, Event]] = []
        #: How many nobody waits for any more.
        self.given_up = 0
        self.acknowledge = asyncio.Event()
        self.acknowledge.set()
        self.failure: Exception | None = None

    async def write(self, work: Work, attempt_id: str, number: int, event: Event) -> None:
        self.written.append((attempt_id, number, event))
        try:
            await self.acknowledge.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if self.failure is not None:
            raise self.failure


class Clock:
    """The loop's time, which is the broker's, too."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def at_ms(self, moment: float) -> float:
        return moment * 1000


class OpenGate:
    """Lets every step start at once, unless it is held back."""

    held_back = False

    async def until_owned(self) -> None:
        """Nobody else can own the partition."""

    def permit(self, work: Work) -> None:
        """A step waits for nothing."""


class Owner:
    """Takes what attempts end with."""

    def __init__(self) -> None:
        self.landings: asyncio.Queue[tuple[Attempt, Outcome]] = asyncio.Queue()
        self.failures: list[BaseException] = []
        self.refuses: Exception | None = None

    def finished(self, attempt: Attempt, outcome: Outcome) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.landings.put_nowait((attempt, outcome))

    def broken(self, failure: BaseException) -> None:
        self.failures.append(failure)

    @property
    def own_commits(self) -> OwnCommits:
        ledger: Any = MemoryState()
        commits: Any = SimpleNamespace(now=lambda: None)
        clock: Any = None
        return OwnCommits(ledger, commits, Topics("fleet", "joke", "main"), clock)

    async def outcome(self) -> Outcome:
        """Return what the next flight ends with."""
        return (await self.landings.get())[1]

    async def raised(self) -> BaseException:
        """Return the error that the next flight ends with."""
        outcome = await self.outcome()
        assert isinstance(outcome, Raised)
        return outcome.error

    async def returned(self) -> Returned:
        """Return the result that the next flight ends with."""
        outcome = await self.outcome()
        assert isinstance(outcome, Returned)
        return outcome


class Deck:
    """Attempts with everything around them."""

    def __init__(self, slots: int = 100) -> None:
        self.flow = Flow()
        self.owner = Owner()
        self.stream = Stream()
        self.state = MemoryState()
        self.slots = Slots(slots)
        settings: Any = SimpleNamespace(
            graph=definition.graph(Flow),
            topics=Topics("fleet", "joke", "main"),
            workflow=lambda: self.flow,
            slots=self.slots,
            runs=ConcurrentRuns(),
            threads=StepThreads(2),
            activity=None,
            stream=self.stream,
        )
        clock: Any = Clock()
        self.gate = OpenGate()
        gate: Any = self.gate
        self.attempts = Attempts(settings, self.state, clock, gate, self.owner)
        nothing: Any = lambda _: None  # noqa: E731 - nothing is set aside, and no run waits
        self.attempts.queues.serve(Users(self.attempts.line_up, nothing, nothing))

    def add(self, name: str, run_id: str = "r", event_id: str = "e1") -> Work:
        """Add one step for one event."""
        envelope = Envelope(run_id=run_id, event_id=event_id, type="StartEvent")
        record = Delivered("t", 0, 0, 0, run_id.encode(), b"{}", envelope.headers())
        work = Work(record, envelope, StartEvent(), definition.graph(Flow).step_by_name[name])
        self.attempts.add(work)
        return work

    def runs(self, body: Body, name: str = "free", run_id: str = "r") -> Work:
        """Add a step with this body."""
        self.flow.body = body
        return self.add(name, run_id)


async def turns() -> None:
    """Let everything happen that waits for nothing but its turn."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
async def deck() -> Deck:
    return Deck()


class TestOutcome:
    async def test_what_was_sent_and_returned_is_the_result(self, deck: Deck) -> None:
        """Sent events in their order, the returned one last, and the changes of the context."""

        async def body(ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.send_event(Part(number=1))
            ctx.send_event(StartEvent(number=2), step="narrow")
            await ctx.store.set("a", 5)
            return StopEvent(result=3)

        deck.runs(body)
        assert await deck.owner.returned() == Returned(
            (
                Sent(Part(number=1), None, b'{"number":1}'),
                Sent(StartEvent(number=2), "narrow", b'{"number":2}'),
                Sent(StopEvent(result=3), returned=True),
            ),
            {context_prefix("r") + b"a": b"5"},
        )
        assert len(deck.attempts) == 0

    async def test_none_is_no_event(self, deck: Deck) -> None:
        """A step that returns None ends its branch."""

        async def body(ctx: Context, ev: StartEvent) -> None:
            """Return nothing."""

        deck.runs(body)
        assert await deck.owner.returned() == Returned((), {})

    @pytest.mark.parametrize("wrong", ["text", 0, [StopEvent()], StopEvent], ids=repr)
    async def test_anything_else_is_refused(self, deck: Deck, wrong: Any) -> None:
        """The error names the step and what it returned."""

        async def body(ctx: Context, ev: StartEvent) -> Any:
            return wrong

        deck.runs(body)
        error = await deck.owner.raised()
        assert isinstance(error, UnexpectedResult)
        kind = f"the class {wrong.__name__}" if isinstance(wrong, type) else type(wrong).__name__
        assert f"Step function free returned {kind}" in str(error)

    @pytest.mark.parametrize(
        "error", [KeyError("x"), SystemExit(1), asyncio.CancelledError(), TimeoutError()], ids=repr
    )
    async def test_whatever_a_step_raises_is_its_failure(
        self, deck: Deck, error: BaseException
    ) -> None:
        """Also an exit and a cancellation of its own: neither stops the worker nor is lost."""

        async def body(ctx: Context, ev: StartEvent) -> None:
            raise error

        deck.runs(body)
        assert await deck.owner.raised() is error
        assert deck.owner.failures == []

    async def test_a_context_belongs_to_its_event_and_step(self, deck: Deck) -> None:
        """Run id, attempt and a key that is the same after a crash."""

        async def body(ctx: Context, ev: StartEvent) -> StopEvent:
            return StopEvent(result=[ctx.run_id, ctx.attempt, ctx.idempotency_key])

        deck.runs(body)
        (sent,) = (await deck.owner.returned()).sent
        assert sent.event.get("result") == ["r", 1, idempotency_key("e1", "free")]

    async def test_an_attempt_reads_the_state(self, deck: Deck) -> None:
        """The context shows what earlier steps left."""
        deck.state.write({context_prefix("r") + b"a": b"5"})

        async def body(ctx: Context, ev: StartEvent) -> StopEvent:
            return StopEvent(result=await ctx.store.get("a"))

        deck.runs(body)
        assert (await deck.owner.returned()).sent == (Sent(StopEvent(result=5), returned=True),)

    async def test_an_owner_that_fails_is_told(self, deck: Deck) -> None:
        """A failure of the engine itself must not look like a step that still runs."""
        deck.owner.refuses = ValueError("engine")
        deck.add("narrow")
        deck.flow.gate.let_go("r")
        await turns()
        assert deck.owner.failures == [deck.owner.refuses]


class TestTimeout:
    async def test_a_step_that_takes_too_long_is_stopped(self, deck: Deck) -> None:
        """The error names the step, its limit and the way out."""
        left = asyncio.Event()

        async def body(ctx: Context, ev: StartEvent) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                left.set()

        deck.runs(body, "quick")
        error = await deck.owner.raised()
        assert isinstance(error, StepTimeoutError)
        assert "step quick took longer than its timeout of 0.01 seconds" in str(error)
        assert left.is_set()

    async def test_a_timeout_of_the_steps_own_is_not_ours(self, deck: Deck) -> None:
        """What a step's HTTP client raises comes through as it is."""

        async def body(ctx: Context, ev: StartEvent) -> None:
            raise TimeoutError("http")

        deck.runs(body, "quick")
        error = await deck.owner.raised()
        assert type(error) is TimeoutError
        assert str(error) == "http"


class TestLimits:
    async def test_num_workers_bounds_a_step_of_a_run(self, deck: Deck) -> None:
        """The third attempt waits until one of the first two has ended."""
        for _ in range(5):
            deck.add("narrow", "r")
        await turns()
        assert len(deck.flow.gate.inside) == 2
        deck.flow.gate.let_go("r")
        for _ in range(5):
            await deck.owner.returned()
        assert deck.flow.gate.most == 2

    async def test_each_run_and_each_step_has_its_own_bound(self, deck: Deck) -> None:
        """A busy run holds up neither another run nor another step of its own."""
        for _ in range(5):
            deck.add("narrow", "r1")
            deck.add("narrow", "r2")

        async def body(ctx: Context, ev: StartEvent) -> None:
            """Return nothing."""

        deck.runs(body, run_id="r1")
        await deck.owner.returned()
        assert sorted(deck.flow.gate.inside) == ["r1", "r1", "r2", "r2"]
        deck.attempts.stop()

    async def test_slots_bound_the_worker(self) -> None:
        """No more steps run than there are slots, whatever run they belong to."""
        deck = Deck(slots=3)
        for number in range(10):
            deck.add("narrow", f"r{number}")
        await turns()
        assert deck.flow.gate.inside == ["r0", "r1", "r2"]
        for number in range(10):
            deck.flow.gate.let_go(f"r{number}")
        for _ in range(10):
            await deck.owner.returned()
        assert deck.flow.gate.most == 3

    async def test_what_waits_for_its_run_holds_no_slot(self) -> None:
        """Twenty attempts of a step that takes two leave slots for others."""
        deck = Deck(slots=3)
        for _ in range(20):
            deck.add("narrow", "busy")
        deck.add("narrow", "other")
        await turns()
        assert deck.flow.gate.inside == ["busy", "busy", "other"]
        deck.attempts.stop()

    async def test_a_failed_attempt_makes_room(self, deck: Deck) -> None:
        """An error ends an attempt like a result does."""
        entered: list[int] = []

        async def body(ctx: Context, ev: StartEvent) -> None:
            entered.append(1)
            raise ValueError("x")

        for _ in range(10):
            deck.runs(body)
        for _ in range(10):
            await deck.owner.raised()
        assert len(entered) == 10

    async def test_only_steps_that_run_are_active(self, deck: Deck) -> None:
        """A step that waits for a slot or for its run is not what takes the time."""
        deck = Deck(slots=1)
        deck.add("narrow", "r1")
        deck.add("narrow", "r2")
        await turns()
        assert deck.attempts.active_steps("r1") == {"narrow"}
        assert deck.attempts.active_steps("r2") == set()
        assert deck.attempts.active_steps("unknown") == set()
        deck.attempts.stop()


class TestStop:
    async def test_a_stopped_run_lands_nothing(self, deck: Deck) -> None:
        """What runs and what waits is given back, and other runs go on."""
        works = [deck.add("narrow", "r1", f"e{number}") for number in range(4)]
        deck.add("narrow", "r2")
        await turns()
        assert deck.attempts.stop_run("r1") == works
        await turns()
        assert deck.flow.gate.inside == ["r2"]
        deck.flow.gate.let_go("r2")
        deck.flow.gate.let_go("r1")
        assert (await deck.owner.returned()).sent == (Sent(StopEvent(result="r2"), returned=True),)
        await turns()
        assert deck.owner.landings.empty()
        assert deck.owner.failures == []

    async def test_a_stopped_run_makes_room(self) -> None:
        """Its slots and its workers are free again, also of steps that had not begun."""
        deck = Deck(slots=2)
        for _ in range(4):
            deck.add("narrow", "r1")
        deck.attempts.stop_run("r1")
        await turns()
        for _ in range(4):
            deck.add("narrow", "r1")
        await turns()
        assert deck.flow.gate.inside == ["r1", "r1"]
        deck.attempts.stop_run("r1")
        await turns()
        assert deck.slots.free == 2

    async def test_a_step_that_does_not_let_itself_be_stopped_has_no_effect(
        self, deck: Deck
    ) -> None:
        """It may swallow the cancellation and return; nobody takes the result."""
        swallowed = asyncio.Event()

        async def body(ctx: Context, ev: StartEvent) -> StopEvent:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.set()
            return StopEvent()

        deck.runs(body)
        await turns()
        deck.attempts.stop_run("r")
        await swallowed.wait()
        await turns()
        assert deck.owner.landings.empty()
        assert len(deck.attempts) == 0

    async def test_stopping_an_unknown_run_is_fine(self, deck: Deck) -> None:
        """An end may be read of a run that has no step here."""
        assert deck.attempts.stop_run("unknown") == []

    async def test_no_attempt_begins_once_they_stop(self, deck: Deck) -> None:
        """What runs goes on to its end; what waits never begins, nor does what comes."""
        for _ in range(4):
            deck.add("narrow", "r1")
        await turns()
        deck.attempts.stop_admitting()
        for run_id in ("r1", "r2"):
            deck.add("narrow", run_id)
        assert len(deck.flow.gate.inside) == 2
        deck.flow.gate.let_go("r1")
        deck.flow.gate.let_go("r2")
        await deck.attempts.wait(60)
        await turns()
        assert deck.owner.landings.qsize() == 2

    async def test_waiting_ends_when_the_running_steps_have(self, deck: Deck) -> None:
        """Not when steps that wait for them have, and at once where none runs."""
        await deck.attempts.wait(60)
        deck.add("narrow", "r")
        await turns()
        deck.flow.gate.let_go("r")
        await deck.attempts.wait(60)
        assert deck.owner.landings.qsize() == 1

    async def test_waiting_gives_up(self, deck: Deck) -> None:
        """A step that goes on is not waited for without end."""
        deck.add("narrow", "r")
        await turns()
        await deck.attempts.wait(0.001)
        assert deck.flow.gate.inside == ["r"]
        deck.attempts.stop()


class TestStream:
    async def test_writes_are_numbered_within_an_attempt(self, deck: Deck) -> None:
        """A reader can tell attempts apart and put each in order."""

        async def body(ctx: Context, ev: StartEvent) -> None:
            for number in range(3):
                ctx.write_event_to_stream(Part(number=number))

        for _ in range(2):
            deck.runs(body)
            await deck.owner.returned()
        attempts = [attempt for attempt, _, _ in deck.stream.written]
        assert len(set(attempts)) == 2
        assert attempts == sorted(attempts, key=attempts.index)
        numbers = [(number, event) for _, number, event in deck.stream.written]
        assert numbers == [(number, Part(number=number)) for number in range(3)] * 2

    async def test_a_result_waits_for_what_was_shown(self, deck: Deck) -> None:
        """A caller who sees the result has seen the stream, also of steps that do not await it."""
        deck.stream.acknowledge.clear()

        async def body(ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.write_event_to_stream(Part())
            return StopEvent()

        deck.runs(body)
        await turns()
        assert len(deck.stream.written) == 1
        assert deck.owner.landings.empty()
        deck.stream.acknowledge.set()
        await deck.owner.returned()

    async def test_what_is_acknowledged_takes_no_memory(self, deck: Deck) -> None:
        """A step may show a million tokens."""
        kept: list[weakref.ref[Any]] = []

        async def body(ctx: Context, ev: StartEvent) -> StopEvent:
            for number in range(100):
                writing = ctx.write_event_to_stream(Part(number=number))
                kept.append(weakref.ref(writing))
                await writing
            del writing
            await asyncio.sleep(0)
            gc.collect()
            return StopEvent(result=sum(one() is not None for one in kept))

        deck.runs(body)
        (sent,) = (await deck.owner.returned()).sent
        assert sent.event == StopEvent(result=0)

    async def test_a_write_that_waits_ends_with_its_step(self, deck: Deck) -> None:
        """Whoever has the partition then shows events of its own, and this one would come late."""
        deck.stream.acknowledge.clear()

        async def body(ctx: Context, ev: StartEvent) -> None:
            ctx.write_event_to_stream(Part())
            await asyncio.Event().wait()

        deck.runs(body)
        await turns()
        assert (len(deck.stream.written), deck.stream.given_up) == (1, 0)
        deck.attempts.stop()
        await turns()
        assert deck.stream.given_up == 1

    async def test_a_write_can_be_awaited(self, deck: Deck) -> None:
        """A step that wants to know whether it is shown waits for it."""
        shown: list[str] = []

        async def body(ctx: Context, ev: StartEvent) -> None:
            await ctx.write_event_to_stream(Part())
            shown.append(ctx.run_id)

        deck.stream.acknowledge.clear()
        deck.runs(body)
        await turns()
        assert shown == []
        deck.stream.acknowledge.set()
        await deck.owner.returned()
        assert shown == ["r"]

    async def test_a_write_that_fails_fails_the_step(self, deck: Deck) -> None:
        """What was to be shown and was not is no success."""
        deck.stream.failure = WorkflowRuntimeError("no broker")

        async def body(ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.write_event_to_stream(Part())
            return StopEvent()

        deck.runs(body)
        assert await deck.owner.raised() is deck.stream.failure

    async def test_a_step_that_failed_hides_no_failed_write(
        self, deck: Deck, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its own error is its failure; asyncio has nothing to add about the stream."""
        deck.stream.failure = WorkflowRuntimeError("no broker")

        async def body(ctx: Context, ev: StartEvent) -> None:
            ctx.write_event_to_stream(Part())
            raise ValueError("x")

        deck.runs(body)
        assert isinstance(await deck.owner.raised(), ValueError)
        await turns()
        gc.collect()
        assert [each.getMessage() for each in caplog.records if each.name == "asyncio"] == []
