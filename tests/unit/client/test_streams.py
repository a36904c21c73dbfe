"""Streams that are read late, slowly, again, and from a cursor in another process."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka.errors import TopicAuthorizationFailedError
from test_handler import TOPICS, JokeEvent, WrittenLog, completed, turns

from fleet import Event, StopEvent, StreamRestarted, WorkflowCancelledEvent, WorkflowHandler
from fleet.client.streams import beginning, event_stream, reader
from fleet.client.streams.cursor import BadCursor, Cursor
from fleet.client.streams.reader import EventReader, StreamGone
from fleet.engine.transitions.runs import End, Run
from fleet.kafka.calling.run_state import ContextUnreadable
from fleet.records import state
from fleet.records.envelope import Envelope
from fleet.records.lifecycle import Cancelled, Known, Started
from fleet.records.log import Delivered
from fleet.records.run_entries import RunEntries
from fleet.workflow.errors import WorkflowConfigurationError


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let little stay in memory, and pages be short."""
    monkeypatch.setattr(event_stream, "KEPT_RECORDS", 4)
    monkeypatch.setattr(event_stream, "_CHUNK", 2)
    monkeypatch.setattr(reader, "PAGE_OFFSETS", 8)


@pytest.fixture
async def log() -> AsyncIterator[WrittenLog]:
    made = WrittenLog()
    yield made
    made.caller.shut()
    await turns()


async def jokes(log: WrittenLog, numbers: range, attempt: str = "1.a", epoch: int = 0) -> None:
    """Let an attempt show events."""
    for number in numbers:
        await log.shows(JokeEvent(joke=f"{attempt} {number}"), attempt, number, epoch=epoch)


async def attached(log: WrittenLog, ended: End | None = None) -> WorkflowHandler:
    """Return a handler of a process that has the run's id and nothing else."""
    if ended is None:
        log.state[state.run_key("r")] = Run(start_event_id="s", seen_ms=100_000).encode()
    else:
        log.state[state.end_key("r")] = ended.encode()
    handler = log.caller.attach("r").handler
    await turns()
    return handler


async def take(reader: EventReader, count: int) -> list[object]:
    """Read a few events; return their texts."""
    return [told(await asyncio.wait_for(anext(reader), 5)) for _ in range(count)]


async def rest(reader: EventReader) -> list[object]:
    """Read to the end."""
    return [told(event) async for event in reader]


def told(event: Event) -> object:
    if isinstance(event, JokeEvent):
        return event.joke
    return event if isinstance(event, StreamRestarted) else type(event).__name__


class TestMemory:
    async def test_a_slow_reader_keeps_little_in_memory_and_misses_nothing(
        self, log: WrittenLog
    ) -> None:
        """What is not kept any more it reads from the log, a page at a time."""
        handler = await log.judged_run()
        slow = handler.stream_events()
        await jokes(log, range(1))
        assert await take(slow, 1) == ["1.a 0"]
        await jokes(log, range(1, 40))
        assert len(handler.stream.records_from(0)) <= event_stream.KEPT_RECORDS
        await log.reads(completed(), 9)
        assert await rest(slow) == [*(f"1.a {number}" for number in range(1, 40)), "StopEvent"]
        assert all(end - first <= reader.PAGE_OFFSETS for first, end in log.pages)

    async def test_large_events_are_bounded_by_their_size(
        self, log: WrittenLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(event_stream, "KEPT_RECORDS", 1_000)
        monkeypatch.setattr(event_stream, "KEPT_BYTES", 3_000)
        handler = await log.judged_run()
        for number in range(20):
            await log.shows(JokeEvent(joke="x" * 1_000), "1.a", number)
        assert len(handler.stream.records_from(0)) <= 3
        await log.reads(completed(), 9)
        assert len(await rest(handler.stream_events())) == 21

    async def test_a_late_reader_sees_the_stream_from_its_beginning(self, log: WrittenLog) -> None:
        """Also beside one that has read it, and after the run's end."""
        handler = await log.judged_run()
        await jokes(log, range(20))
        await log.reads(completed(), 9)
        first, second = await rest(handler.stream_events()), await rest(handler.stream_events())
        assert first == second
        assert first[:2] == ["1.a 0", "1.a 1"]

    async def test_who_keeps_up_reads_nothing_again(self, log: WrittenLog) -> None:
        handler = await log.judged_run()
        quick = handler.stream_events()
        for number in range(20):
            await jokes(log, range(number, number + 1))
            assert await take(quick, 1) == [f"1.a {number}"]
        assert log.pages == []

    async def test_every_waiting_reader_is_woken(self, log: WrittenLog) -> None:
        """By the next event, and by the end."""
        handler = await log.judged_run()
        waiting = [asyncio.create_task(rest(handler.stream_events())) for _ in range(3)]
        await turns()
        await jokes(log, range(1))
        await log.reads(completed(), 9)
        assert await asyncio.gather(*waiting) == [["1.a 0", "StopEvent"]] * 3


class TestCursor:
    async def test_a_reader_continues_behind_its_cursor(self, log: WrittenLog) -> None:
        """In the same process, while the run goes on."""
        handler = await log.judged_run()
        first = handler.stream_events()
        assert first.cursor is None
        await jokes(log, range(3))
        await take(first, 2)
        again = handler.stream_events(after=first.cursor)
        assert again.cursor == first.cursor
        assert await take(again, 1) == ["1.a 2"]
        assert again.cursor != first.cursor

    async def test_another_process_continues_behind_it(self, log: WrittenLog) -> None:
        """It finds in the log which attempts count."""
        first = (await log.judged_run()).stream_events()
        await jokes(log, range(2), "2.b")
        await take(first, 2)
        await jokes(log, range(2), "1.a")
        await jokes(log, range(2, 4), "2.b")
        handler = await attached(log)
        again = handler.stream_events(after=first.cursor)
        assert await take(again, 2) == ["2.b 2", "2.b 3"]

    async def test_behind_the_last_event_nothing_follows(self, log: WrittenLog) -> None:
        """Who comes back has read how the run ended."""
        handler = await log.judged_run()
        await jokes(log, range(2))
        first = handler.stream_events()
        await log.reads(completed(), 9)
        assert (await rest(first))[-1] == "StopEvent"
        assert await rest(handler.stream_events(after=first.cursor)) == []

    async def test_a_stream_with_nothing_but_its_end_has_a_cursor(self, log: WrittenLog) -> None:
        handler = await log.judged_run()
        first = handler.stream_events()
        await log.reads(completed(), 9)
        assert await rest(first) == ["StopEvent"]
        assert await rest(handler.stream_events(after=first.cursor)) == []

    async def test_a_run_that_was_resumed_shows_its_next_end(self, log: WrittenLog) -> None:
        """Its reader has seen the one before."""
        handler = await log.judged_run()
        first = handler.stream_events()
        await jokes(log, range(1))
        await log.reads(Cancelled(), 9)
        assert await rest(first) == ["1.a 0", "WorkflowCancelledEvent"]
        # A step that did not hear of the end, and one of the resumed run.
        await jokes(log, range(1, 2))
        await jokes(log, range(2), "2.b", epoch=1)
        ended = End(outcome="completed", epoch=1, offset=12, ended_ms=0, seen_ms=100_000)
        log.records.append(stands(12))
        again = (await attached(log, ended)).stream_events(after=first.cursor)
        assert await rest(again) == ["2.b 0", "2.b 1", "StopEvent"]

    async def test_the_end_comes_after_all_that_the_stream_has_then(self, log: WrittenLog) -> None:
        """The record of the end may be read long before the events that are older."""
        handler = await log.judged_run()
        reader = handler.stream_events()
        reading = asyncio.ensure_future(rest(reader))
        log.reading_stream = []
        await log.reads(Cancelled(), 9)
        assert handler.is_done()
        assert not reading.done()
        await jokes(log, range(2))
        for done in log.reading_stream:
            done()
        assert await reading == ["1.a 0", "1.a 1", "WorkflowCancelledEvent"]

    @pytest.mark.parametrize("given", ["", "x", "1-0-0-0e", 7, Cursor(0, 0).text("t", "other")])
    async def test_what_is_no_cursor_of_the_run_is_refused(
        self, log: WrittenLog, given: object
    ) -> None:
        """At once, with a sentence that shows it."""
        handler = await log.judged_run()
        with pytest.raises(BadCursor, match=r"pass the \.cursor of an iterator") as raised:
            handler.stream_events(after=given)  # type: ignore[arg-type]
        assert isinstance(raised.value, WorkflowConfigurationError)

    async def test_a_cursor_of_another_run_is_said_to_be_one(self, log: WrittenLog) -> None:
        handler = await log.judged_run()
        with pytest.raises(BadCursor, match="of another run"):
            handler.stream_events(after=Cursor(0, 3).text(TOPICS.stream, "other"))

    @pytest.mark.parametrize(
        "cursor",
        [Cursor(0, -1), Cursor(5, 7, 0), Cursor(5, 7, 1, 0), Cursor(2**62, 2**62, 1, 2**31)],
    )
    def test_it_is_read_as_it_was_written(self, cursor: Cursor) -> None:
        text = cursor.text("t", "r")
        assert Cursor.of(text, "t", "r") == cursor
        assert len(text) < 70


def stands(offset: int) -> Delivered:
    """Return the end of the run's second epoch."""
    headers = Envelope(run_id="r", event_id="o", type="completed", epoch=1).headers()
    return Delivered(TOPICS.runs, 0, offset, 0, b"r", completed().encode(), headers)


class TestOtherRuns:
    async def test_an_attached_handler_sees_the_stream_from_the_runs_beginning(
        self, log: WrittenLog
    ) -> None:
        """It is found by when the run was first seen, with a margin for the brokers' clocks."""
        await log.judged_run()
        await jokes(log, range(12))
        handler = await attached(log)
        assert await take(handler.stream_events(), 12) == [f"1.a {n}" for n in range(12)]
        assert log.since_ms == [100_000 - beginning.CLOCKS_MS]

    async def test_also_of_a_run_that_has_ended(self, log: WrittenLog) -> None:
        await log.judged_run()
        await jokes(log, range(3))
        log.records.append(stands(12))
        ended = End(outcome="completed", epoch=1, offset=12, ended_ms=0, seen_ms=100_000)
        handler = await attached(log, ended)
        assert await rest(handler.stream_events()) == ["1.a 0", "1.a 1", "1.a 2", "StopEvent"]
        assert log.since_ms == [100_000 - beginning.CLOCKS_MS]

    async def test_also_of_a_run_that_was_known_when_it_was_started(self, log: WrittenLog) -> None:
        """Another caller has started it with the same id."""
        await log.judged_run()
        await jokes(log, range(6))
        log.state[state.run_key("r")] = Run(start_event_id="s", seen_ms=5).encode()
        handler = await log.run()
        await log.reads(Known(start_event_id=log.start_id()), 4)
        assert await take(handler.stream_events(), 6) == [f"1.a {number}" for number in range(6)]
        assert log.since_ms == [0]

    async def test_a_run_that_is_this_starts_own_is_looked_for_nowhere(
        self, log: WrittenLog
    ) -> None:
        handler = await log.judged_run()
        await jokes(log, range(3))
        assert await take(handler.stream_events(), 3)
        assert (log.read, log.since_ms) == ([], [])

    async def test_a_state_without_the_time_is_read_from_the_logs_beginning(
        self, log: WrittenLog
    ) -> None:
        """An older version has written it."""
        await log.judged_run()
        await jokes(log, range(3))
        log.records.append(stands(12))
        handler = await attached(log, End(outcome="completed", epoch=1, offset=12, ended_ms=9))
        assert len(await rest(handler.stream_events())) == 4
        assert log.since_ms == [0]

    async def test_without_a_look_at_the_state_it_is_read_from_the_logs_beginning(
        self, log: WrittenLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who may start runs need not be allowed to read the state topic."""

        async def refused(run_id: str) -> RunEntries:
            raise ContextUnreadable(run_id, TOPICS.state, TopicAuthorizationFailedError())

        await log.judged_run()
        await jokes(log, range(3))
        monkeypatch.setattr(log, "read_run", refused)
        handler = await log.run()
        await log.reads(Known(start_event_id=log.start_id()), 4)
        assert len(await take(handler.stream_events(), 3)) == 3
        assert log.since_ms == [0]


class TestRestarts:
    async def test_a_newer_attempt_is_announced(self, log: WrittenLog) -> None:
        """To those alone who ask for what Fleet shows."""
        handler = await log.judged_run()
        await jokes(log, range(2), "1.a")
        await jokes(log, range(1), "2.b")
        await log.reads(completed(), 9)
        restarted = StreamRestarted(step_name="s", event_id="e", void_events=2)
        exposed = await rest(handler.stream_events(expose_internal=True))
        assert exposed == ["1.a 0", "1.a 1", restarted, "2.b 0", "StopEvent"]
        assert await rest(handler.stream_events()) == [one for one in exposed if one != restarted]

    async def test_an_announcement_is_not_repeated(self, log: WrittenLog) -> None:
        """Nor is the event behind it lost."""
        handler = await log.judged_run()
        await jokes(log, range(2), "1.a")
        await jokes(log, range(1), "2.b")
        first = handler.stream_events(expose_internal=True)
        await take(first, 3)
        again = handler.stream_events(expose_internal=True, after=first.cursor)
        assert await take(again, 1) == ["2.b 0"]


class TestRetention:
    async def test_events_behind_the_cursor_that_are_gone_are_an_error(
        self, log: WrittenLog
    ) -> None:
        """What the reader has not seen is not passed over."""
        handler = await log.judged_run()
        first = handler.stream_events()
        await jokes(log, range(20))
        await take(first, 2)
        log.lost = 4
        with pytest.raises(StreamGone, match="its retention removed"):
            await take(handler.stream_events(after=first.cursor), 1)

    async def test_events_before_the_cursor_may_be_gone(self, log: WrittenLog) -> None:
        handler = await log.judged_run()
        first = handler.stream_events()
        await jokes(log, range(20))
        await take(first, 4)
        log.lost = 4
        assert await take(handler.stream_events(after=first.cursor), 2) == ["1.a 4", "1.a 5"]

    async def test_an_announced_event_that_is_gone_is_an_error(self, log: WrittenLog) -> None:
        handler = await log.judged_run()
        await jokes(log, range(3), "1.a")
        await jokes(log, range(20), "2.b")
        first = handler.stream_events(expose_internal=True)
        await take(first, 4)
        log.lost = 4
        with pytest.raises(StreamGone):
            await take(handler.stream_events(expose_internal=True, after=first.cursor), 1)

    async def test_without_a_cursor_it_begins_where_the_log_does(
        self, log: WrittenLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An attempt may begin with any number then."""
        handler = await log.judged_run()
        await jokes(log, range(20))
        log.lost = 7
        assert await take(handler.stream_events(), 2) == ["1.a 7", "1.a 8"]
        assert "stream_gap" not in caplog.text

    async def test_a_slow_reader_that_retention_overtakes_hears_of_it(
        self, log: WrittenLog
    ) -> None:
        handler = await log.judged_run()
        slow = handler.stream_events()
        await jokes(log, range(1))
        await take(slow, 1)
        await jokes(log, range(1, 20))
        log.lost = 9
        with pytest.raises(StreamGone):
            await take(slow, 1)

    async def test_a_topic_that_ends_before_the_cursor_is_another(self, log: WrittenLog) -> None:
        """All its events would be passed over."""
        handler = await log.judged_run()
        await jokes(log, range(2))
        cursor = Cursor(0, 500).text(TOPICS.stream, "r")
        await log.reads(completed(), 9)
        with pytest.raises(StreamGone, match="it was replaced"):
            await take(handler.stream_events(after=cursor), 1)


async def test_a_stream_whose_connection_is_closed_ends(log: WrittenLog) -> None:
    """Its cursor is good for the next connection."""
    handler = await log.judged_run()
    await jokes(log, range(2))
    events = handler.stream_events()
    await take(events, 2)
    log.caller.shut()
    assert await rest(events) == []
    assert events.cursor is not None


async def test_last_events_are_of_the_run(log: WrittenLog) -> None:
    handler = await log.run()
    await log.reads(Started(start_event_id=log.start_id()), 3)
    await log.reads(Cancelled(), 9)
    events = [event async for event in handler.stream_events()]
    assert events == [WorkflowCancelledEvent()]
    assert isinstance(events[0], StopEvent)
