"""A run's handler, and the caller's side of the log that resolves it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from fleet import (
    Event,
    StartEvent,
    StopEvent,
    WorkflowCancelledByUser,
    WorkflowCancelledEvent,
    WorkflowFailedEvent,
    WorkflowHandler,
    WorkflowRuntimeError,
    WorkflowTimedOutEvent,
    WorkflowTimeoutError,
    step,
)
from fleet.client import patience, worker_watch
from fleet.client.caller import Caller
from fleet.records import envelope as envelopes
from fleet.records.envelope import Envelope
from fleet.records.events import encoded, type_name
from fleet.records.lifecycle import (
    Cancelled,
    Completed,
    Failed,
    Failure,
    Known,
    Lifecycle,
    Started,
    TimedOut,
)
from fleet.records.log import Delivered, Outgoing, Page
from fleet.records.run_entries import RunEntries
from fleet.records.topics import Topics
from fleet.workflow import definition
from fleet.workflow.definition import Definition
from fleet.workflow.errors import EndGone, RunConflict
from fleet.workflow.graph import Graph

TOPICS = Topics("fleet", "joke", "main")


class JokeEvent(Event):
    joke: str


class JokeFlow(Definition):
    @step
    async def generate(self, ev: StartEvent) -> JokeEvent:
        return JokeEvent(joke="x")

    @step
    async def critique(self, ev: JokeEvent) -> StopEvent:
        return StopEvent()


class Panic(BaseException):
    """As extensions in other languages raise it."""


class Prickly(Exception):
    """Takes no notes."""

    def add_note(self, note: str) -> None:
        raise Panic(note)


class Greedy(Exception):
    """Takes no attributes."""

    def __setattr__(self, name: str, value: object) -> None:
        raise Panic(name)


def completed(result: Any = 1) -> Completed:
    """Return a run's end with this result."""
    event = encoded(StopEvent(result=result)).decode()
    return Completed(step="critique", event_type="StopEvent", event=event)


FAILED = Failed(
    step="critique",
    event_id="e",
    failure=Failure(module="builtins", type="KeyError", message="'x'", args=("x",)),
)


class WrittenLog:
    """A log that the test writes: what is sent is kept, what is read is handed on."""

    def __init__(self, workers: Callable[[str], Awaitable[int]] | None = None) -> None:
        self.workers = workers
        self.sent: list[Outgoing] = []
        self.followed: list[str] = []
        #: Whether the broker tells where a partition ends.
        self.may_follow = asyncio.Event()
        self.may_follow.set()
        self.looked_back: list[int] = []
        #: What was read of `runs`, in its order.
        self.records: list[Delivered] = []
        #: What is committed of the group's state.
        self.state: dict[bytes, bytes] = {}
        self.read: list[str] = []
        #: The log's records of `stream`, the first offset that it still has, and its end.
        self.shown: list[Delivered] = []
        self.lost = 0
        self.stream_end = 0
        #: Where it is said to begin since a time, the times that were asked for, and what was read.
        self.stream_begins = 0
        self.since_ms: list[int] = []
        self.pages: list[tuple[int, int]] = []
        self.began = 0
        self.failure: Exception | None = None
        #: What arrives while somebody looks back.
        self.meanwhile: list[Delivered] = []
        #: Who is called when the stream is read; None: it is, whenever somebody asks.
        self.reading_stream: list[Callable[[], None]] | None = None
        self.caller = Caller(JokeFlow, TOPICS, self)

    async def follow(self, run_id: str) -> None:
        await self.may_follow.wait()
        self.followed.append(run_id)

    async def send(self, record: Outgoing, *, repeatable: bool) -> None:
        del repeatable
        if self.failure is not None:
            raise self.failure
        self.sent.append(record)

    async def look_back(self, run_id: str, offset: int) -> list[Delivered]:
        self.looked_back.append(offset)
        for record in self.meanwhile:
            self.caller.take(record)
        found = [each for each in self.records if each.offset >= offset]
        await asyncio.sleep(0)
        return found

    def stream_position(self, run_id: str) -> int:
        return self.stream_end

    async def stream_since(self, run_id: str, since_ms: int) -> int:
        self.since_ms.append(since_ms)
        return self.stream_begins

    async def read_stream(self, run_id: str, first: int, end: int) -> Page:
        self.pages.append((first, end))
        await asyncio.sleep(0)
        found = [each for each in self.shown if max(first, self.lost) <= each.offset < end]
        return Page(found, self.lost)

    async def read_run(self, run_id: str) -> RunEntries:
        self.read.append(run_id)
        return RunEntries(run_id, TOPICS.runs).take_all(self.state.items())

    async def running_steps(self, run_id: str, graph: Graph) -> list[str]:
        return sorted(graph.step_by_name)

    def followed_from(self, run_id: str) -> int:
        return self.began

    def when_stream_read(self, run_id: str, done: Callable[[], None], *, soon: bool) -> None:
        if self.reading_stream is None:
            asyncio.get_running_loop().call_soon(done)
        else:
            self.reading_stream.append(done)

    def unfollow(self, run_id: str) -> None:
        # A run whose start was never sent was not followed yet.
        if run_id in self.followed:
            self.followed.remove(run_id)

    async def run(self, run_id: str = "r", timeout: float | None = None) -> WorkflowHandler:
        """Start a run; return its handler when the start event is sent."""
        handler = self.caller.run(StartEvent(topic="x"), run_id, timeout)
        await turns()
        return handler

    async def judged_run(self) -> WorkflowHandler:
        """Start a run and let the workers say that it has begun."""
        handler = await self.run()
        await self.reads(Started(start_event_id=self.start_id()), 3)
        return handler

    def start_id(self, index: int = -1) -> str:
        """Return the id of a start event that was sent."""
        return envelopes.parse(self.sent[index].headers).event_id

    async def reads(self, happening: Lifecycle, offset: int, run_id: str = "r") -> None:
        """Hand on a record of `runs`."""
        self.records.append(record(happening, offset, run_id))
        self.caller.take(self.records[-1])
        await turns()

    async def shows(
        self,
        event: Event,
        attempt: str = "a",
        number: int = 0,
        parent: str = "e",
        name: str = "s",
        *,
        epoch: int = 0,
    ) -> None:
        """Hand on a record of `stream`."""
        envelope = Envelope(
            run_id="r",
            epoch=epoch,
            type=type_name(event),
            parent_id=parent,
            step=name,
            event_id=f"{attempt}-{number}",
        )
        self.appends(encoded(event), envelope)
        self.caller.take(self.shown[-1])
        await turns()

    def appends(self, value: bytes, envelope: Envelope) -> None:
        """Append a record to `stream`, and hand it to nothing yet."""
        key, headers = envelope.run_id.encode(), envelope.headers()
        offset, self.stream_end = self.stream_end, self.stream_end + 1
        self.shown.append(Delivered(TOPICS.stream, 0, offset, 0, key, value, headers))


def record(happening: Lifecycle, offset: int, run_id: str = "r") -> Delivered:
    """Return a record of `runs`."""
    envelope = Envelope(run_id=run_id, event_id="o", type=happening.kind)
    value, headers = happening.encode(), envelope.headers()
    return Delivered(TOPICS.runs, 0, offset, 0, run_id.encode(), value, headers)


async def turns() -> None:
    """Let everything happen that waits for nothing but its turn."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def log() -> AsyncIterator[WrittenLog]:
    made = WrittenLog()
    yield made
    made.caller.shut()
    await turns()


class TestStart:
    async def test_the_log_is_followed_before_the_start_is_sent(self, log: WrittenLog) -> None:
        """Else the run could end before anybody looks."""
        handler = log.caller.run(StartEvent(topic="x"), "r", 5.0)
        assert handler.run_id == "r"
        assert log.sent == []
        await turns()
        assert log.followed == ["r"]
        (sent,) = log.sent
        assert (sent.topic, sent.key, sent.value) == (
            TOPICS.event("StartEvent"),
            b"r",
            b'{"topic":"x"}',
        )
        envelope = envelopes.parse(sent.headers)
        assert (envelope.run_id, envelope.type, envelope.timeout_seconds) == ("r", "StartEvent", 5)

    async def test_every_start_event_has_an_id_of_its_own(self, log: WrittenLog) -> None:
        """By it the caller knows which answer is its own."""
        await log.run("r")
        await log.run("r")
        assert log.start_id(0) != log.start_id(1)

    async def test_a_run_without_an_id_gets_one(self, log: WrittenLog) -> None:
        """Two runs never share it."""
        one, two = (log.caller.run(StartEvent(), None, None) for _ in range(2))
        assert one.run_id != two.run_id

    async def test_of_many_runs_the_first_are_sent_before_the_last(self, log: WrittenLog) -> None:
        """Workers have the first ones while the others are written, and all are sent, in order."""
        names = [str(number) for number in range(1000)]
        for name in names:
            log.caller.run(StartEvent(), name, None)
        await asyncio.sleep(0)
        assert 0 < len(log.sent) < len(names) / 2

        for _ in range(len(names)):
            await asyncio.sleep(0)

        assert [(sent.key or b"").decode() for sent in log.sent] == names

    async def test_runs_that_were_not_sent_when_it_is_shut_are_told(self, log: WrittenLog) -> None:
        """And never are."""
        handlers = [log.caller.run(StartEvent(), None, None) for _ in range(1000)]
        log.caller.shut()
        await turns()

        for handler in handlers:
            with pytest.raises(WorkflowRuntimeError, match="connection was closed"):
                await handler
        assert log.sent == []

    async def test_a_start_that_cannot_be_sent_fails_the_run(self, log: WrittenLog) -> None:
        """Whoever awaits it hears why, at once, and its stream ends."""
        log.failure = ConnectionError("no broker")
        handler = await log.run()
        with pytest.raises(ConnectionError, match="no broker"):
            await handler
        assert [event async for event in handler.stream_events()] == []
        assert log.followed == []


class TestEnd:
    @pytest.mark.parametrize(
        ("end", "error"),
        [
            (FAILED, KeyError),
            (Cancelled(reason="enough"), WorkflowCancelledByUser),
            (TimedOut(timeout_seconds=2, active_steps=("a",)), WorkflowTimeoutError),
        ],
        ids=lambda each: getattr(each, "kind", ""),
    )
    async def test_each_end_without_a_result_is_an_error(
        self, log: WrittenLog, end: Lifecycle, error: type[Exception]
    ) -> None:
        """The step's own, a cancellation, a timeout."""
        handler = await log.run()
        await log.reads(Started(start_event_id=log.start_id()), 3)
        await log.reads(end, 4)
        with pytest.raises(error):
            await handler
        assert handler.is_done()
        assert isinstance(handler.exception(), error)

    @pytest.mark.parametrize(
        ("end", "last"),
        [
            (FAILED, WorkflowFailedEvent),
            (Cancelled(), WorkflowCancelledEvent),
            (
                TimedOut(timeout_seconds=2, active_steps=("critique",)),
                WorkflowTimedOutEvent(timeout=2, active_steps=["critique"]),
            ),
        ],
    )
    async def test_each_end_without_a_result_is_the_last_event(
        self, log: WrittenLog, end: Lifecycle, last: type[Event] | Event
    ) -> None:
        handler = await log.run()
        await log.reads(Started(start_event_id=log.start_id()), 3)
        await log.reads(end, 4)
        (event,) = [event async for event in handler.stream_events()]
        assert event == last if isinstance(last, Event) else type(event) is last
        if isinstance(event, WorkflowFailedEvent):
            assert event.exception is handler.exception()

    async def test_a_run_that_failed_before_a_step_says_so(self, log: WrittenLog) -> None:
        handler = await log.run()
        failed = FAILED.model_copy(update={"step": "", "event_id": log.start_id(), "attempt": 0})
        await log.reads(failed, 3)
        (event,) = [event async for event in handler.stream_events()]
        assert isinstance(event, WorkflowFailedEvent)
        assert (event.step_name, event.attempts) == ("", None)

    async def test_completed_is_the_result(self, log: WrittenLog) -> None:
        """The handler is done, has a result and nothing is followed any more."""
        handler = await log.run()
        assert not handler.is_done()
        assert "running" in repr(handler)
        await log.reads(Started(start_event_id=log.start_id()), 3)
        await log.reads(completed("x"), 4)
        assert await handler == handler.result() == "x"
        assert "done" in repr(handler)
        assert log.followed == []

    async def test_the_first_end_counts(self, log: WrittenLog) -> None:
        """What is written later changes nothing."""
        handler = await log.run()
        await log.reads(Started(start_event_id=log.start_id()), 3)
        await log.reads(Cancelled(), 4)
        await log.reads(completed(), 5)
        with pytest.raises(WorkflowCancelledByUser):
            await handler

    async def test_another_runs_records_are_passed_over(self, log: WrittenLog) -> None:
        """Runs share partitions."""
        handler = await log.run("r")
        await log.reads(Started(start_event_id=log.start_id()), 3)
        await log.reads(completed(), 4, run_id="other")
        assert not handler.is_done()

    async def test_an_end_of_an_earlier_life_is_not_this_runs(self, log: WrittenLog) -> None:
        """An id may be used again after its dedupe time; only our own start counts."""
        handler = await log.run()
        await log.reads(Started(start_event_id="another start"), 3)
        await log.reads(completed("old"), 4)
        assert not handler.is_done()

    async def test_an_end_may_come_before_what_says_that_it_started(self, log: WrittenLog) -> None:
        """A cancel can reach the log while the commit with `started` is under way."""
        handler = await log.run()
        await log.reads(Cancelled(), 3)
        assert not handler.is_done()
        await log.reads(Started(start_event_id=log.start_id(), read_from=3), 4)
        await turns()
        assert isinstance(handler.exception(), WorkflowCancelledByUser)

    async def test_an_end_that_was_read_before_the_run_was_asked_for_counts(
        self, log: WrittenLog
    ) -> None:
        """Somebody else started and cancelled what is only now started here."""
        await log.run("other")
        await log.reads(Cancelled(), 3)
        handler = await log.run()
        await log.reads(Started(start_event_id=log.start_id(), read_from=2), 4)
        await turns()
        assert isinstance(handler.exception(), WorkflowCancelledByUser)

    async def test_an_end_from_before_anybody_looked_is_read(self, log: WrittenLog) -> None:
        """A run id that others know may have been cancelled before this process followed it."""
        log.began = 4
        handler = await log.run()
        log.records.append(record(Cancelled(), 2))
        await log.reads(Started(start_event_id=log.start_id(), read_from=2), 4)
        assert log.looked_back == [2]
        assert isinstance(handler.exception(), WorkflowCancelledByUser)

    async def test_an_older_end_is_no_end_of_this_run(self, log: WrittenLog) -> None:
        """Its group had read it before it began the run anew."""
        handler = await log.run()
        await log.reads(Cancelled(), 3)
        await log.reads(Started(start_event_id=log.start_id(), read_from=4), 5)
        await turns()
        assert not handler.is_done()

    async def test_an_end_that_was_read_need_not_be_the_first(self, log: WrittenLog) -> None:
        """Somebody cancelled the run before anybody looked; what was read then is no end."""
        log.began = 4
        log.records.append(record(Cancelled(reason="early"), 2))
        handler = await log.run()
        await log.reads(Cancelled(reason="late"), 4)
        await log.reads(Started(start_event_id=log.start_id(), read_from=1), 5)
        with pytest.raises(WorkflowCancelledByUser, match="early"):
            await handler

    async def test_nobody_looks_back_for_an_end_that_is_there(self, log: WrittenLog) -> None:
        """Start and end often come together; each look back would drop what was fetched."""
        handler = await log.run()
        log.caller.take(record(Started(start_event_id=log.start_id(), read_from=2), 3))
        log.caller.take(record(completed("x"), 4))
        assert await handler == "x"
        await turns()
        assert log.looked_back == []

    async def test_a_kind_of_a_newer_version_is_passed_over(self, log: WrittenLog) -> None:
        """What ends this run is of a kind that is known."""
        handler = await log.run()
        await log.reads(Started(start_event_id=log.start_id()), 3)
        envelope = Envelope(run_id="r", event_id="o", type="resumed")
        log.caller.take(Delivered(TOPICS.runs, 0, 4, 0, b"r", b"{}", envelope.headers()))
        await log.reads(completed(), 5)
        assert await handler == 1

    @pytest.mark.parametrize(
        ("key", "headers"),
        [
            (b"\xff", []),
            (b"r", []),
            (b"r", [("fleet-run-id", b"\xff")]),
        ],
    )
    async def test_a_record_of_somebody_else_stops_nothing(
        self, log: WrittenLog, key: bytes, headers: list[tuple[str, bytes]]
    ) -> None:
        """Anybody may write to a topic; the runs that are waited for go on."""
        handler = await log.run()
        for topic in (TOPICS.runs, TOPICS.stream):
            log.caller.take(Delivered(topic, 0, 3, 0, key, b"\xff", headers))
        await log.reads(Started(start_event_id=log.start_id()), 4)
        await log.reads(completed(), 5)
        assert await handler == 1

    async def test_a_result_that_cannot_be_read_is_an_error(self, log: WrittenLog) -> None:
        """Whoever awaits the run hears it; it is not passed over in silence."""
        handler = await log.run()
        await log.reads(Started(start_event_id=log.start_id()), 3)
        await log.reads(Completed(step="s", event_type="StopEvent", event="[1"), 4)
        assert isinstance(handler.exception(), WorkflowRuntimeError)

    @pytest.mark.parametrize("kind", [KeyError, Panic, RecursionError, StopIteration])
    async def test_a_result_type_that_raises_ends_that_run_alone(
        self, log: WrittenLog, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
    ) -> None:
        """Its code is the user's: a dataclass's __post_init__, a validator."""

        def raising(event: Event) -> Any:
            if event.get("result") == "bad":
                raise kind("missing")
            return event.get("result")

        monkeypatch.setattr(definition, "result_of", lambda _, event: raising(event))
        bad, good = await log.run("bad"), await log.run("good")
        for index, handler in enumerate((bad, good)):
            await log.reads(Started(start_event_id=log.start_id(index)), 3, handler.run_id)
            await log.reads(completed(handler.run_id), 4, handler.run_id)
        with pytest.raises(WorkflowRuntimeError, match=f"StopEvent raises {kind.__name__}.*miss"):
            await bad
        assert await good == "good"

    @pytest.mark.parametrize("kind", ["StopIteration", "Prickly", "Greedy"])
    async def test_an_error_that_cannot_be_made_again_ends_that_run_alone(
        self, log: WrittenLog, kind: str
    ) -> None:
        """The record names any type that is imported here, and anybody may write one."""
        handler, other = await log.run("r"), await log.run("other")
        module = "builtins" if kind == "StopIteration" else __name__
        failure = Failure(module=module, type=kind, message="x", args=("x",))
        await log.reads(Started(start_event_id=log.start_id(0)), 3)
        await log.reads(Failed(step="s", event_id="e", failure=failure), 4)
        with pytest.raises(Exception, match="x"):
            await handler
        await log.reads(Started(start_event_id=log.start_id(1)), 5, "other")
        await log.reads(completed("fine"), 6, "other")
        assert await other == "fine"

    async def test_what_hears_of_the_end_and_raises_harms_no_other(self, log: WrittenLog) -> None:
        """It is the user's; asyncio reports it."""
        reported: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(context)
        )
        handler, other = await log.run("r"), await log.run("other")
        handler.add_done_callback(lambda _: [].pop())
        for index, run_id in enumerate(("r", "other")):
            await log.reads(Started(start_event_id=log.start_id(index)), 3, run_id)
            await log.reads(completed("x"), 4, run_id)
        assert [await handler, await other] == ["x", "x"]
        assert len(reported) == 1


class TestRepeat:
    async def test_an_ended_run_is_read_where_it_ended(self, log: WrittenLog) -> None:
        """`known` says where; what lies between is not this run's end."""
        handler = await log.run()
        log.records.append(record(completed("x"), 4))
        await log.reads(Known(start_event_id=log.start_id(), end_offset=4), 9)
        assert log.looked_back == [4]
        assert await handler == "x"

    async def test_an_end_that_the_log_has_lost_is_said_at_once(self, log: WrittenLog) -> None:
        """Retention took it: nobody waits for what cannot come."""
        handler = await log.run()
        await log.reads(Known(start_event_id=log.start_id(), end_offset=4), 9)
        with pytest.raises(EndGone, match="run r ended earlier"):
            await handler

    async def test_a_run_that_goes_on_is_followed(self, log: WrittenLog) -> None:
        """From what its group had read when it answered."""
        handler = await log.run()
        await log.reads(Known(start_event_id=log.start_id(), read_from=6), 9)
        assert log.looked_back == [6]
        await log.reads(completed("x"), 12)
        assert await handler == "x"

    async def test_anothers_answer_is_not_ours(self, log: WrittenLog) -> None:
        """Two callers may repeat one run at the same time."""
        await log.run()
        await log.reads(Known(start_event_id="another", end_offset=4), 9)
        assert log.looked_back == []

    async def test_a_conflict_is_an_error(self, log: WrittenLog) -> None:
        """Nothing was started, and the first run's result is not ours."""
        handler = await log.run()
        await log.reads(Known(start_event_id=log.start_id(), end_offset=4, conflict=True), 9)
        with pytest.raises(RunConflict):
            await handler

    async def test_a_late_end_does_not_overtake_the_one_that_counts(self, log: WrittenLog) -> None:
        """Somebody cancels the ended run while its end is looked up."""
        handler = await log.run()
        log.meanwhile = [record(Cancelled(), 10)]
        log.records.append(record(completed("x"), 4))
        await log.reads(Known(start_event_id=log.start_id(), end_offset=4), 9)
        assert await handler == "x"

    async def test_several_handlers_of_one_run_get_one_end(self, log: WrittenLog) -> None:
        """Each by its own start event."""
        first, second = await log.run(), await log.run()
        await log.reads(Started(start_event_id=log.start_id(0)), 3)
        await log.reads(Known(start_event_id=log.start_id(1), read_from=3), 4)
        await log.reads(completed("x"), 5)
        assert [await first, await second] == ["x", "x"]

    async def test_several_handlers_of_one_run_leave_nothing_followed(
        self, log: WrittenLog
    ) -> None:
        """Every `follow` has its `unfollow`, else a partition is read for ever."""
        first, second = await log.run(), await log.run()
        for index in (0, 1):
            await log.reads(Started(start_event_id=log.start_id(index)), index)
        await log.reads(completed("x"), 5)
        assert [await first, await second] == ["x", "x"]
        assert log.followed == []


class TestPatience:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(patience, "GRACE_SECONDS", 0.001)

    async def test_a_run_that_nobody_takes_up_is_given_up(self, log: WrittenLog) -> None:
        """The error says that no worker has, and what to check; of steps it knows nothing."""
        handler = await log.run(timeout=0.001)
        words = r"^Operation timed out after 0.001 seconds. No worker of the step group .* has ans"
        with pytest.raises(WorkflowTimeoutError, match=words):
            await handler

    async def test_a_run_whose_worker_is_gone_is_given_up(self, log: WrittenLog) -> None:
        """It started; the run itself goes on."""
        handler = await log.run(timeout=0.001)
        await log.reads(Started(start_event_id=log.start_id()), 3)
        with pytest.raises(WorkflowTimeoutError, match="Its worker has not reported"):
            await handler

    async def test_a_run_without_a_limit_is_never_given_up(self, log: WrittenLog) -> None:
        """Whoever gave no timeout waits."""
        handler = await log.run(timeout=None)
        await asyncio.sleep(0.01)
        assert not handler.is_done()


class TestStream:
    async def read(self, handler: WorkflowHandler) -> list[Event]:
        return [event async for event in handler.stream_events()]

    async def test_the_result_comes_last(self, log: WrittenLog) -> None:
        """What was shown before the end is there before the end, however it arrives."""
        handler = await log.run()
        await log.reads(Started(start_event_id=log.start_id()), 3)
        log.reading_stream = []
        await log.reads(completed(), 4)
        assert handler.is_done()
        await log.shows(JokeEvent(joke="late"))
        (done,) = log.reading_stream
        done()
        assert await self.read(handler) == [JokeEvent(joke="late"), StopEvent(result=1)]

    async def test_an_older_attempt_is_ignored(self, log: WrittenLog) -> None:
        """After a crash the step runs again; what its first attempt still sends is stale."""
        handler = await log.run()
        await log.shows(JokeEvent(joke="old"), "one", 0)
        await log.shows(JokeEvent(joke="new"), "two", 0)
        await log.shows(JokeEvent(joke="stale"), "one", 1)
        await log.shows(JokeEvent(joke="newer"), "two", 1)
        await log.reads(Started(start_event_id=log.start_id()), 3)
        await log.reads(completed(), 4)
        shown = [event.get("joke") for event in await self.read(handler)]
        assert shown == ["old", "new", "newer", None]

    async def test_each_event_is_shown_once(self, log: WrittenLog) -> None:
        """A client that heard no answer may have written it again; numbers tell."""
        handler = await log.run()
        for number in (0, 1, 0, 1, 2, 1):
            await log.shows(JokeEvent(joke=str(number)), "one", number)
        await log.reads(Started(start_event_id=log.start_id()), 3)
        await log.reads(completed(), 4)
        shown = [event.get("joke") for event in await self.read(handler)]
        assert shown == ["0", "1", "2", None]

    @pytest.mark.parametrize("value", [b"[1", b"\xff", b"1", b""])
    async def test_what_cannot_be_read_is_passed_over(self, log: WrittenLog, value: bytes) -> None:
        """The rest of the stream, and the run, go on."""
        handler = await log.run()
        envelope = Envelope(run_id="r", type="JokeEvent", parent_id="e", event_id="one-0", step="s")
        log.appends(value, envelope)
        log.caller.take(log.shown[-1])
        await log.shows(JokeEvent(joke="fine"), "one", 1)
        await log.reads(Started(start_event_id=log.start_id()), 3)
        await log.reads(completed(), 4)
        assert [event.get("joke") for event in await self.read(handler)] == ["fine", None]

    async def test_attempts_of_other_steps_and_events_do_not_end_each_other(
        self, log: WrittenLog
    ) -> None:
        """Steps that run side by side show side by side."""
        handler = await log.run()
        for number in range(2):
            await log.shows(JokeEvent(joke="s"), "one", number, name="s")
            await log.shows(JokeEvent(joke="t"), "two", number, name="t")
            await log.shows(JokeEvent(joke="other"), "three", number, parent="other")
        await log.reads(Started(start_event_id=log.start_id()), 3)
        await log.reads(completed(), 4)
        shown = [event.get("joke") for event in await self.read(handler)]
        assert shown == ["s", "t", "other", "s", "t", "other", None]


class TestControl:
    async def test_nothing_is_sent_to_a_run_that_is_not_followed_yet(self, log: WrittenLog) -> None:
        """What comes of it would be shown before this caller reads."""
        log.may_follow.clear()
        handler = log.caller.run(StartEvent(topic="x"), None, None)
        sending = handler.send_event(JokeEvent(joke="a"))
        await turns()
        assert log.sent == []
        log.may_follow.set()
        await sending
        assert [envelopes.parse(each.headers).type for each in log.sent] == [
            "StartEvent",
            "JokeEvent",
        ]

    async def test_what_waits_to_be_sent_ends_with_its_wait(self, log: WrittenLog) -> None:
        """The connection was closed before the run was followed."""
        log.may_follow.clear()
        handler = log.caller.run(StartEvent(topic="x"), None, None)
        sending = handler.send_event(JokeEvent(joke="a"))
        await turns()
        log.caller.shut()
        with pytest.raises(WorkflowRuntimeError, match="the connection was closed"):
            await sending

    async def test_an_event_from_outside_goes_to_the_inbox(self, log: WrittenLog) -> None:
        """With the run's key, no parent, and the step where one is named."""
        handler = await log.judged_run()
        await handler.send_event(JokeEvent(joke="y"), step="critique")
        sent = log.sent[-1]
        envelope = envelopes.parse(sent.headers)
        assert (sent.topic, sent.key, sent.value) == (TOPICS.inbox, b"r", b'{"joke":"y"}')
        assert (envelope.type, envelope.step, envelope.parent_id) == ("JokeEvent", "critique", "")

    async def test_awaiting_what_was_sent_tells_that_it_failed(self, log: WrittenLog) -> None:
        """An acknowledgement that does not come is an error for who asked for it."""
        handler = await log.judged_run()
        log.failure = ConnectionError("no broker")
        with pytest.raises(ConnectionError):
            await handler.send_event(JokeEvent(joke="y"))

    async def test_a_cancel_is_a_record_of_the_run(self, log: WrittenLog) -> None:
        """It is a request: the run ends when it is read in the log."""
        handler = await log.judged_run()
        await handler.cancel_run("enough")
        sent = log.sent[-1]
        assert (sent.topic, sent.value) == (TOPICS.runs, b'{"reason":"enough"}')
        assert not handler.is_done()

    async def test_a_cancel_waits_for_the_workers(self, log: WrittenLog) -> None:
        """The run of this id may be another's."""
        handler = await log.run()
        cancelling = asyncio.create_task(handler.cancel_run("enough"))
        await turns()
        assert [each.topic for each in log.sent] == [TOPICS.event("StartEvent")]
        await log.reads(Started(start_event_id=log.start_id()), 3)
        await cancelling
        assert log.sent[-1].topic == TOPICS.runs

    async def test_a_cancel_of_anothers_run_is_not_sent(self, log: WrittenLog) -> None:
        """It raises what the run ended with for this caller."""
        handler = await log.run()
        cancelling = asyncio.create_task(handler.cancel_run("enough"))
        await turns()
        await log.reads(Known(start_event_id=log.start_id(), conflict=True), 3)
        with pytest.raises(RunConflict):
            await cancelling
        assert [each.topic for each in log.sent] == [TOPICS.event("StartEvent")]

    async def test_a_cancel_does_not_wait_for_workers_that_are_not_there(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody has begun the run, so it does not begin."""
        monkeypatch.setattr(worker_watch, "SILENT_SECONDS", 0.001)

        async def none_there(group: str) -> int:
            return 0

        log = WrittenLog(none_there)
        handler = await log.run()
        async with asyncio.timeout(10):
            await handler.cancel_run("enough")
        assert log.sent[-1].value == b'{"reason":"enough"}'
        log.caller.shut()
        with pytest.raises(WorkflowRuntimeError):
            await handler

    async def test_closing_the_connection_ends_every_wait(self, log: WrittenLog) -> None:
        """The runs themselves go on, and the error says so."""
        handlers = [await log.run("a"), await log.run("b")]
        log.caller.shut()
        for handler in handlers:
            with pytest.raises(WorkflowRuntimeError, match="the run itself goes on"):
                await handler

    async def test_whoever_asks_is_called_when_the_run_has_ended(self, log: WrittenLog) -> None:
        """With the handler itself."""
        called: list[WorkflowHandler] = []
        handler = await log.run()
        handler.add_done_callback(called.append)
        await log.reads(Started(start_event_id=log.start_id()), 3)
        assert called == []
        await log.reads(completed(), 4)
        assert called == [handler]

    async def test_nobody_has_to_await_a_failed_run(
        self, log: WrittenLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whoever only follows the stream has seen the end; asyncio has nothing to report."""
        handler = await log.run()
        await log.reads(Started(start_event_id=log.start_id()), 3)
        await log.reads(FAILED, 4)
        assert handler.is_done()
        del handler
        await turns()
        assert [each for each in caplog.records if each.name == "asyncio"] == []
