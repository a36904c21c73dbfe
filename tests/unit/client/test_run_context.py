"""`handler.ctx`: what a caller reads of its run's context, and when that is refused."""

import asyncio
from typing import Any

import pytest
from test_handler import FAILED, TOPICS, JokeFlow, WrittenLog, completed, record

from fleet import ContextStateError, StartEvent
from fleet.client.run_context import ContextGone, ContextNotKept, ReadOnlyContext
from fleet.engine.transitions.runs import End
from fleet.records import state
from fleet.records.lifecycle import Started
from fleet.workflow.errors import UnacceptedEvent


@pytest.fixture
def log() -> WrittenLog:
    return WrittenLog()


def keep(log: WrittenLog, run_id: str = "r", **values: str) -> None:
    """Let values be in the state."""
    log.state[state.run_key(run_id)] = b"{}"
    for path, value in values.items():
        log.state[state.context_prefix(run_id) + path.encode()] = value.encode()


def end(log: WrittenLog, outcome: str, offset: int) -> None:
    """Let the state say that the run has ended."""
    entry = End(outcome=outcome, offset=offset, ended_ms=0)
    log.state[state.end_key("r")] = entry.encode()


class TestRunning:
    async def test_what_is_committed_is_read(self, log: WrittenLog) -> None:
        """Of this run alone, each time anew."""
        keep(log, count="1", name='"Ada"')
        keep(log, "r2", count="5")
        handler = await log.judged_run()
        assert await handler.ctx.store.get("count") == 1
        keep(log, count="2")
        assert await handler.ctx.store.get_state() == {"count": 2, "name": "Ada"}
        assert await handler.ctx.store.to_dict() == {"count": 2, "name": "Ada"}
        assert await handler.ctx.store.get("x", "default") == "default"
        with pytest.raises(ValueError, match="has no value at 'x'"):
            await handler.ctx.store.get("x")
        assert handler.ctx.is_running

    async def test_a_run_that_has_not_begun_has_none(self, log: WrittenLog) -> None:
        """No step has set anything."""
        handler = await log.run()
        assert await handler.ctx.store.get_state() == {}

    @pytest.mark.parametrize(
        ("method", "arguments"),
        [("set", ("a", 1)), ("set_state", ({},)), ("delete", ("a",)), ("clear", ())],
    )
    async def test_a_caller_changes_nothing(
        self, log: WrittenLog, method: str, arguments: tuple[Any, ...]
    ) -> None:
        """The error says who can, and how to ask for it."""
        handler = await log.judged_run()
        with pytest.raises(ReadOnlyContext, match=rf"{method}\(\) is for steps.*send_event\(event"):
            await getattr(handler.ctx.store, method)(*arguments)
        with pytest.raises(ContextStateError, match=r"edit_state\(\) is for steps"):
            handler.ctx.store.edit_state()

    async def test_what_only_steps_have_is_named(self, log: WrittenLog) -> None:
        """With what to write instead."""
        handler = await log.judged_run()
        with pytest.raises(AttributeError, match=r"has no attribute 'stream_events'; handler.str"):
            _ = handler.ctx.stream_events  # type: ignore[attr-defined]
        assert not hasattr(handler.ctx, "nonsense")

    async def test_steps_that_run(self, log: WrittenLog) -> None:
        """Of a run that is done there are none."""
        handler = await log.judged_run()
        assert await handler.ctx.running_steps() == sorted(
            name for name in vars(JokeFlow) if hasattr(vars(JokeFlow)[name], "__fleet_step__")
        )
        await log.reads(completed(), 5)
        assert await handler.ctx.running_steps() == []

    async def test_events_are_sent_as_by_the_handler(self, log: WrittenLog) -> None:
        """And refused as by it."""
        handler = await log.judged_run()
        with pytest.raises(UnacceptedEvent, match="nope"):
            handler.ctx.send_event(StartEvent(), step="nope")
        await handler.ctx.send_event(StartEvent())
        assert log.sent[-1].topic == TOPICS.inbox


class TestEnded:
    async def test_a_result_brings_the_last_context(self, log: WrittenLog) -> None:
        """Nothing else is read for it."""
        keep(log, count="1")
        handler = await log.judged_run()
        await log.reads(completed().model_copy(update={"context": '{"a": {"b": [1]}}'}), 5)
        assert await handler == 1
        log.read.clear()
        assert await handler.ctx.store.get_state() == {"a": {"b": [1]}}
        assert await handler.ctx.store.get("a.b.0") == 1
        assert log.read == []
        assert not handler.ctx.is_running

    async def test_a_result_without_one_has_none(self, log: WrittenLog) -> None:
        """The run's steps have set nothing."""
        handler = await log.judged_run()
        await log.reads(completed(), 5)
        assert await handler.ctx.store.get_state() == {}

    async def test_one_that_was_too_large_is_an_error(self, log: WrittenLog) -> None:
        """It names the size, the limit and the way out."""
        handler = await log.judged_run()
        await log.reads(completed().model_copy(update={"context_bytes": 250_000}), 5)
        with pytest.raises(ContextNotKept, match=r"250,000 bytes was not kept.*100,000.*return"):
            await handler.ctx.store.get_state()

    async def test_a_failed_run_keeps_its_context(self, log: WrittenLog) -> None:
        """In the state, until it is forgotten."""
        keep(log, count="1")
        end(log, "failed", 5)
        handler = await log.judged_run()
        await log.reads(FAILED, 5)
        assert await handler.ctx.store.get("count") == 1
        log.state.clear()
        with pytest.raises(ContextGone, match="read it within FLEET_RESUME_DAYS"):
            await handler.ctx.store.get("count")

    async def test_an_end_that_was_not_heard_yet_is_waited_for(self, log: WrittenLog) -> None:
        """The state says that the run has completed; its record follows."""
        end(log, "completed", 5)
        handler = await log.judged_run()
        reading = asyncio.ensure_future(handler.ctx.store.get_state())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not reading.done()
        await log.reads(completed().model_copy(update={"context": '{"a": 1}'}), 5)
        assert await reading == {"a": 1}

    async def test_a_handler_that_gave_up_finds_the_record(self, log: WrittenLog) -> None:
        """The state says where it stands."""
        end(log, "completed", 5)
        handler = await log.judged_run()
        log.caller.fail_all(OSError("away"))
        found = completed().model_copy(update={"context": '{"a": 1}'})
        log.records.append(record(found, 5))
        assert await handler.ctx.store.get_state() == {"a": 1}
        log.records[-1] = record(Started(start_event_id="other"), 5)
        with pytest.raises(ContextGone):
            await handler.ctx.store.get_state()
