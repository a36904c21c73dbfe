"""Runs that others began: a caller has their ids and nothing else."""

import asyncio

import pytest
from test_handler import FAILED, TOPICS, JokeEvent, WrittenLog, completed, turns

from fleet import WorkflowCancelledByUser, WorkflowHandler
from fleet.engine.transitions.runs import End, Run
from fleet.records import envelope as envelopes
from fleet.records import state
from fleet.records.envelope import Envelope
from fleet.records.lifecycle import Cancelled, Lifecycle, Started
from fleet.records.log import Delivered
from fleet.records.position import Position
from fleet.workflow.errors import EndGone, RunEnded, RunUnheard, RunUnknown


@pytest.fixture
def log() -> WrittenLog:
    return WrittenLog()


def goes_on(log: WrittenLog, epoch: int = 0, read_to: int = 0) -> None:
    """Let the state have the run, and the group's position in `runs`."""
    log.state[state.run_key("r")] = Run(start_event_id="s", epoch=epoch).encode()
    log.state[state.position_key(TOPICS.runs)] = Position(read_to).encode()


def has_ended(log: WrittenLog, outcome: str, offset: int, epoch: int = 0) -> None:
    """Let the state have the run's end."""
    entry = End(outcome=outcome, epoch=epoch, offset=offset, ended_ms=0)
    log.state[state.end_key("r")] = entry.encode()


def stands(log: WrittenLog, happening: Lifecycle, offset: int, epoch: int = 0) -> Delivered:
    """Write a record of `runs` that is not handed on."""
    headers = Envelope(run_id="r", event_id="o", type=happening.kind, epoch=epoch).headers()
    record = Delivered(TOPICS.runs, 0, offset, 0, b"r", happening.encode(), headers)
    log.records.append(record)
    return record


async def attached(log: WrittenLog) -> WorkflowHandler:
    """Return a handler that has found its place."""
    handler = log.caller.attach("r").handler
    await turns()
    return handler


def sent_cancels(log: WrittenLog) -> list[tuple[str, int]]:
    """Return the reasons and epochs of the cancels that were sent."""
    return [
        (Cancelled.model_validate_json(sent.value or b"").reason, envelope.epoch)
        for sent in log.sent
        if (envelope := envelopes.parse(sent.headers)).type == Cancelled.kind
    ]


class TestHandler:
    async def test_a_run_that_goes_on_is_followed(self, log: WrittenLog) -> None:
        goes_on(log)
        handler = await attached(log)
        assert not handler.is_done()
        await log.reads(completed("x"), 7)
        assert (await handler, handler.outcome) == ("x", "completed")
        assert not log.followed

    async def test_an_end_that_the_group_has_not_read_counts(self, log: WrittenLog) -> None:
        """It stands between the group's position and the place from which records come."""
        goes_on(log, read_to=5)
        stands(log, completed("older"), 4)
        stands(log, completed("x"), 6)
        assert await (await attached(log)) == "x"

    async def test_an_end_that_comes_while_the_state_is_read_counts(self, log: WrittenLog) -> None:
        goes_on(log, read_to=5)
        log.meanwhile = [stands(log, completed("first"), 6), stands(log, FAILED, 7)]
        assert await (await attached(log)) == "first"

    async def test_a_run_that_has_ended_gives_its_end(self, log: WrittenLog) -> None:
        has_ended(log, "failed", 3)
        stands(log, FAILED, 3)
        handler = await attached(log)
        with pytest.raises(KeyError):
            await handler
        assert handler.outcome == "failed"
        with pytest.raises(RunEnded):
            await handler.send_event(JokeEvent(joke="x"))

    async def test_a_result_that_comes_after_the_end_changes_nothing(self, log: WrittenLog) -> None:
        """Neither how the run ended, nor the context that is read of it."""
        has_ended(log, "failed", 3)
        stands(log, FAILED, 3)
        stands(log, completed(1), 4)
        handler = await attached(log)
        assert (handler.outcome, handler.final_context) == ("failed", None)

    async def test_a_run_whose_start_was_just_read_is_known(self, log: WrittenLog) -> None:
        """Its group's state may be read a moment later than `runs`."""
        stands(log, Started(start_event_id="s"), 3)
        handler = await attached(log)
        assert not handler.is_done()
        await log.reads(completed("x"), 7)
        assert await handler == "x"

    async def test_an_end_that_the_log_has_lost_is_said(self, log: WrittenLog) -> None:
        has_ended(log, "completed", 3)
        handler = await attached(log)
        with pytest.raises(EndGone):
            await handler
        assert handler.outcome == "completed"

    async def test_a_run_that_no_worker_has_seen_is_unknown(self, log: WrittenLog) -> None:
        handler = await attached(log)
        with pytest.raises(RunUnknown, match="no run r is known"):
            await handler
        with pytest.raises(RunUnknown):
            await handler.cancel_run()
        with pytest.raises(RunUnknown):
            await handler.send_event(JokeEvent(joke="x"))
        assert not log.sent

    async def test_an_end_of_an_epoch_that_the_run_has_left_is_none(self, log: WrittenLog) -> None:
        goes_on(log, epoch=2)
        handler = await attached(log)
        log.caller.take(stands(log, Cancelled(), 8, epoch=1))
        await turns()
        assert not handler.is_done()
        log.caller.take(stands(log, Cancelled(reason="enough"), 9, epoch=2))
        with pytest.raises(WorkflowCancelledByUser, match="enough"):
            await handler

    async def test_a_cancel_carries_the_epoch_that_the_run_has_come_to(
        self, log: WrittenLog
    ) -> None:
        """Also one that does not wait until the place was found."""
        goes_on(log, epoch=2)
        await log.caller.attach("r").handler.cancel_run("enough")
        assert sent_cancels(log) == [("enough", 2)]

    async def test_a_run_that_has_ended_is_not_cancelled(self, log: WrittenLog) -> None:
        has_ended(log, "completed", 3)
        stands(log, completed(1), 3)
        handler = log.caller.attach("r").handler
        await handler.cancel_run("enough")
        assert (await handler, log.sent) == (1, [])


class TestCancel:
    async def test_it_says_that_the_run_was_cancelled(self, log: WrittenLog) -> None:
        goes_on(log, epoch=1)
        cancelling = asyncio.create_task(log.caller.cancel_and_wait("r", "enough", 10))
        await turns()
        assert sent_cancels(log) == [("enough", 1)]
        log.caller.take(stands(log, Cancelled(reason="enough"), 9, epoch=1))
        assert await cancelling == "cancelled"

    async def test_it_says_what_came_first(self, log: WrittenLog) -> None:
        """A result that was on its way is the run's end."""
        goes_on(log)
        cancelling = asyncio.create_task(log.caller.cancel_and_wait("r", "enough", 10))
        await turns()
        await log.reads(completed(1), 8)
        await log.reads(Cancelled(reason="enough"), 9)
        assert await cancelling == "completed"

    async def test_a_run_that_has_ended_stays_as_it_is(self, log: WrittenLog) -> None:
        """Even if the log has lost the record of its end."""
        has_ended(log, "timed_out", 3)
        assert await log.caller.cancel_and_wait("r", "enough", 10) == "timed_out"
        assert not log.sent

    async def test_a_run_that_no_worker_has_seen_will_not_begin(self, log: WrittenLog) -> None:
        """The first end in the log counts for it, too."""
        unknown = log.caller.attach("r").handler
        cancelling = asyncio.create_task(log.caller.cancel_and_wait("r", "enough", 10))
        await turns()
        assert sent_cancels(log) == [("enough", 0)]
        await log.reads(Cancelled(reason="enough"), 9)
        assert await cancelling == "cancelled"
        with pytest.raises(RunUnknown):
            await unknown

    async def test_it_does_not_wait_for_ever(self, log: WrittenLog) -> None:
        """And follows nothing any more."""
        goes_on(log)
        with pytest.raises(RunUnheard, match="may still be written"):
            await log.caller.cancel_and_wait("r", "enough", 0.01)
        await turns()
        assert not log.followed

    async def test_what_cannot_be_read_is_raised(self, log: WrittenLog) -> None:
        log.state[state.run_key("r")] = b"no run"
        with pytest.raises(ValueError, match="Invalid JSON"):
            await log.caller.cancel_and_wait("r", "enough", 10)
        assert not log.sent
