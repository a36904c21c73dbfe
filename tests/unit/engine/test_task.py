"""A task over a simulated log: what it commits, and what is left of it after a crash."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from unittest.mock import patch

import pytest
from task_world import (
    EPOCH_MS,
    JOKES,
    START,
    TOPICS,
    Clock,
    JokeEvent,
    JokeFlow,
    WiderFlow,
    World,
    parsed,
    turns,
)

from fleet import Context, Event, StopEvent, step
from fleet.engine import commits, ends_index, retention, task
from fleet.engine.finishing import Finishing
from fleet.engine.log import TaskLost
from fleet.engine.offsets import OffsetTracker
from fleet.engine.retention import Retention
from fleet.engine.transitions import resolve
from fleet.engine.transitions.runs import DAY_MS, End, Run
from fleet.engine.transitions.suspended import Suspended
from fleet.records import state
from fleet.records.dead_letter import DeadLetter
from fleet.records.envelope import Envelope
from fleet.records.lifecycle import (
    Cancelled,
    Completed,
    Failed,
    Known,
    Resumed,
    Resumption,
    Started,
    TimedOut,
)
from fleet.workflow import definition


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(commits, "GATHER_SECONDS", 0)
    monkeypatch.setattr(commits, "LATER_SECONDS", 0)
    monkeypatch.setattr(retention, "LOOK_SECONDS", 3600)
    clock = Clock()
    monkeypatch.setattr(task, "BrokerClock", lambda *_: clock)
    made = World(clock)
    yield made
    for each in made.made:
        await each.close()


@pytest.fixture
async def running(world: World) -> World:
    await world.begin()
    return world


class TestRun:
    async def test_a_run_goes_from_start_to_end(self, running: World) -> None:
        """Started, its events, completed: all through the log; afterwards only the end is kept."""
        running.start("r", topic="x")
        await running.pump()
        await running.open("generate r")
        await running.open("count r", "critique r")
        started, completed = running.happenings("r")
        assert started == Started(start_event_id="start r")
        assert completed == Completed(
            step="critique",
            event_type="StopEvent",
            event='{"result":["about x","r"]}',
            context='{"seen":{"generate":"r"}}',
        )
        assert running.kept() == [state.end_key("r")]
        assert running.ended == ["completed"]

    async def test_every_attempt_is_in_the_history(self, running: World) -> None:
        """Step, event, outcome and what was sent."""
        running.start("r", topic="bad")
        await running.pump()
        await running.open("generate r")
        await running.open("critique r", "count r")
        found = [(each.step, each.outcome, each.sent) for each in running.history()]
        assert found == [
            ("generate", "returned", ("JokeEvent",)),
            ("critique", "raised", ()),
            ("count", "returned", ()),
        ]

    async def test_a_repeated_start_is_answered_in_the_log(self, running: World) -> None:
        """Two starts of one run that arrive together begin one run."""
        running.start("r", "s1", topic="x")
        running.start("r", "s2", topic="x")
        running.start("r", "s3", topic="y")
        await running.pump()
        assert running.happenings("r") == [
            Started(start_event_id="s1"),
            Known(start_event_id="s2"),
            Known(start_event_id="s3", conflict=True),
        ]
        assert running.flow.gate.entered == ["generate r"]

    async def test_an_event_for_one_step_runs_no_other(self, running: World) -> None:
        """`send_event(ev, step=...)` reaches the step that it names."""
        running.send(JokeEvent(), "r", step="count")
        await running.pump()
        assert running.flow.gate.entered == ["count r"]

    async def test_an_event_from_outside_reaches_its_steps(self, running: World) -> None:
        """The inbox carries what callers send; what no step takes is no error there."""
        running.send(JokeEvent(), "r", topic=TOPICS.inbox)
        running.send(StopEvent(), "r", topic=TOPICS.inbox)
        await running.pump()
        assert sorted(running.flow.gate.entered) == ["count r", "critique r"]
        assert running.letters() == []
        assert running.tracker(TOPICS.inbox).lowest == 0
        assert running.tracker(TOPICS.inbox).next == 2


class TestBegunInTheMiddle:
    async def test_a_run_begins_with_the_context_that_its_event_brings(
        self, running: World
    ) -> None:
        """As a replay sends it; the steps see it, and it goes with the run."""
        running.send(
            JokeEvent(joke="x"), "r", context='{"seen": {"generate": "brought"}, "a.b": 1}'
        )
        await running.pump()
        assert running.kept(state.CONTEXT) == [state.context_prefix("r") + b"seen.generate"]
        await running.open("critique r")
        (end,) = [each for each in running.happenings("r") if isinstance(each, Completed)]
        assert json.loads(end.event)["result"] == ["x", "brought"]
        assert running.kept(state.CONTEXT) == []

    async def test_only_the_first_event_brings_one(self, running: World) -> None:
        """A later one, or the same after a crash, does not undo what steps have set since."""
        running.start("r", topic="x")
        await running.pump()
        await running.open("generate r")
        running.send(
            JokeEvent(joke="y"), "r", event_id="late", context='{"seen": {"generate": "?"}}'
        )
        await running.pump()
        assert running.state[state.context_prefix("r") + b"seen.generate"] == b'"r"'

    async def test_a_context_that_is_none_is_a_dead_letter(self, running: World) -> None:
        """Somebody else wrote it."""
        running.send(JokeEvent(joke="x"), "r", context="[1]")
        await running.pump()
        assert running.buried == ["broken_envelope"]


class TestCommits:
    async def test_a_position_is_in_the_commit_of_what_it_stands_for(self, running: World) -> None:
        """A record is done in the very transaction that holds what came of it."""
        running.start("r", topic="x")
        await running.pump()
        await running.open("generate r")
        for transaction in running.transactions:
            sent = [record for record in transaction.records if record.topic == JOKES]
            if sent:
                position = OffsetTracker.decode(
                    transaction.changes[state.position_key(START)] or b""
                )
                assert position.lowest == 1
                break
        else:
            pytest.fail("the joke was not committed")

    async def test_a_position_says_what_is_pending(self, running: World) -> None:
        """A slow head holds up nothing: later records are done, and the position says so."""
        for name in ("slow", "a", "b"):
            running.start(name, topic="x")
        await running.pump()
        await running.open("generate a", "generate b")
        position = running.tracker(START)
        assert (position.next, position.lowest, position.pending) == (3, 0, 1)

    async def test_steps_that_end_together_share_a_commit(self, running: World) -> None:
        """A transaction costs the same for one step as for many."""
        for number in range(20):
            running.start(f"r{number}", topic="x")
        await running.pump()
        before = len(running.transactions)
        await running.open(*(f"generate r{number}" for number in range(20)))
        holding = [
            transaction
            for transaction in running.transactions[before:]
            if any(record.topic == JOKES for record in transaction.records)
        ]
        assert len(holding) == 1
        assert len([each for each in holding[0].records if each.topic == JOKES]) == 20

    async def test_nothing_is_visible_before_it_is_committed(self, running: World) -> None:
        """While a commit is under way the next gathers, and the store waits for the first."""
        running.hold = True
        running.start("r", topic="x")
        await running.pump()
        assert running.log.pending is not None
        assert running.store.get(state.run_key("r")) is None
        running.start("r2", topic="x")
        await running.pump()
        assert running.topics[TOPICS.runs] == []
        running.log.decide()
        await turns()
        assert running.store.get(state.run_key("r")) is not None
        assert running.store.get(state.run_key("r2")) is None
        assert running.log.pending is not None


class TestCrash:
    async def test_a_step_in_flight_runs_again(self, running: World) -> None:
        """Of its first attempt nothing is visible."""
        running.start("r", topic="x")
        await running.pump()
        await running.restart()
        assert running.flow.gate.entered == ["generate r"]
        await running.open("generate r")
        assert len(running.topics[JOKES]) == 1
        assert running.happenings("r") == [Started(start_event_id="start r")]

    async def test_what_was_committed_is_not_computed_again(self, running: World) -> None:
        """After the restart the log goes on where it was."""
        running.start("r", topic="x")
        await running.pump()
        await running.open("generate r")
        await running.restart()
        assert sorted(running.flow.gate.entered) == ["count r", "critique r"]

    async def test_of_several_steps_only_those_without_a_mark_run_again(
        self, running: World
    ) -> None:
        """A step that ended before its siblings leaves a mark in its commit."""
        running.start("r", topic="x")
        await running.pump()
        await running.open("generate r")
        await running.open("count r")
        assert running.kept(state.DONE) == [state.done_prefix(JOKES, 0) + b"count"]
        await running.restart()
        assert running.flow.gate.entered == ["critique r"]
        await running.open("critique r")
        assert running.kept() == [state.end_key("r")]
        assert [each.step for each in running.history()] == ["generate", "count", "critique"]

    async def test_marks_go_with_the_last_step(self, running: World) -> None:
        """The commit that completes an event leaves no trace of its steps."""
        running.send(JokeEvent(), "r", topic=JOKES)
        await running.pump()
        await running.open("count r")
        assert len(running.kept(state.DONE)) == 1
        running.flow.gate.open("critique r")
        await turns()
        assert running.kept(state.DONE) == []

    async def test_a_result_that_was_never_committed_has_not_happened(self, running: World) -> None:
        """The broker aborts what the process left open; context and events go with it."""
        running.start("r", topic="x")
        await running.pump()
        running.hold = True
        await running.open("generate r")
        assert running.log.pending is not None
        running.hold = False
        await running.restart()
        assert running.topics[JOKES] == []
        assert running.kept(state.CONTEXT) == []
        await running.open("generate r")
        await running.open("count r", "critique r")
        assert running.end("r") is not None

    async def test_a_commit_whose_answer_got_lost_has_happened(self, running: World) -> None:
        """The position record in the log tells the next task."""
        running.start("r", topic="x")
        await running.pump()
        running.hold = True
        await running.open("generate r")
        assert running.log.pending is not None
        running.apply(running.log.pending)
        running.hold = False
        await running.restart()
        assert sorted(running.flow.gate.entered) == ["count r", "critique r"]
        assert len(running.topics[JOKES]) == 1

    async def test_a_run_that_ended_meanwhile_is_not_gone_on_with(self, running: World) -> None:
        """`runs` is read before anything else, so a cancelled run starts no step."""
        running.start("r", topic="x")
        await running.pump()
        await running.crash()
        running.happen(Cancelled(), "r")
        await running.begin()
        await running.pump()
        assert running.flow.gate.entered == []

    async def test_a_lost_log_stops_everything(self, running: World) -> None:
        """The steps are stopped, nothing more is committed, and the owner hears why, once."""
        for name in ("a", "b"):
            running.start(name, topic="x")
        await running.pump()
        running.hold = True
        running.flow.gate.open("generate a")
        await turns()
        running.log.lose()
        await turns()
        assert not running.task.alive
        assert running.flow.gate.waiting == {}
        assert [type(each) for each in running.lost] == [TaskLost]
        await running.task.drain(1)
        assert running.log.pending is None
        assert running.topics[JOKES] == []

    async def test_a_failure_of_the_engine_loses_the_task(
        self, running: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What cannot fail and does must not leave a task that looks alive."""
        failure = ZeroDivisionError("engine")

        def fail(*_: object) -> None:
            raise failure

        monkeypatch.setattr(Finishing, "_record", fail)
        running.start("r", topic="x")
        await running.pump()
        await running.open("generate r")
        assert running.lost == [failure]
        assert not running.task.alive


class TestStop:
    async def test_draining_lets_running_steps_finish(self, running: World) -> None:
        """What runs is finished and committed; what waits runs elsewhere."""
        for number in range(6):
            running.send(JokeEvent(joke=str(number)), "r", step="count", event_id=f"e{number}")
        await running.pump()
        assert len(running.flow.gate.entered) == 4
        draining = asyncio.create_task(running.task.drain(60))
        await turns()
        assert not running.task.takes(JOKES)
        assert not draining.done()
        running.flow.gate.open("count r")
        await draining
        assert len(running.flow.gate.entered) == 4
        assert running.tracker(JOKES).pending == 2

    async def test_draining_gives_up_in_time(self, running: World) -> None:
        """A step that goes on runs again elsewhere; what has finished is committed."""
        for name in ("slow", "quick"):
            running.start(name, topic="x")
        await running.pump()
        running.hold = True
        running.flow.gate.open("generate quick")
        await turns()
        draining = asyncio.create_task(running.task.drain(0.001))
        await turns()
        running.hold = False
        running.log.decide()
        await draining
        assert running.tracker(START).lowest == 0
        assert len(running.topics[JOKES]) == 1

    async def test_closing_commits_nothing(self, running: World) -> None:
        """Whoever closes a task has drained it, or it was lost."""
        running.start("r", topic="x")
        running.deliver(START)
        await running.task.close()
        assert running.transactions == []
        assert running.flow.gate.waiting == {}

    async def test_a_closed_task_leaves_nothing_behind(self, running: World) -> None:
        """No loop, no step, no timer of it runs on."""
        running.start("r", topic="x", timeout=60)
        await running.pump()
        await running.task.close()
        await turns()
        left = [each.get_name() for each in asyncio.all_tasks()]
        assert not [name for name in left if "fleet.joke" in name or name.startswith("step")]


class TestEnd:
    async def test_a_cancel_stops_the_runs_steps_and_keeps_them(self, running: World) -> None:
        """What was in flight is suspended until its run is resumed, and its record is done."""
        running.start("r", topic="x")
        running.start("other", topic="x")
        await running.pump()
        running.happen(Cancelled(reason="enough"), "r")
        await running.pump()
        assert list(running.flow.gate.waiting) == ["generate other"]
        ((key, value),) = [
            (key, value)
            for key, value in running.state.items()
            if key.startswith(state.AWAITING_RESUME)
        ]
        assert key == state.awaiting_key("r", "start r", "generate")
        suspended = Suspended.decode(value)
        assert (suspended.topic, suspended.step, suspended.until) == (
            START,
            "generate",
            "resume",
        )
        assert running.tracker(START).lowest == 1
        assert running.ended == ["cancelled"]

    async def test_late_events_of_a_run_without_a_result_are_suspended(
        self, running: World
    ) -> None:
        """One entry for each step that would take it."""
        running.happen(Cancelled(), "r")
        await running.pump()
        running.send(JokeEvent(), "r", event_id="late", topic=JOKES)
        await running.pump()
        assert running.flow.gate.entered == []
        assert running.kept(state.AWAITING_RESUME) == [
            state.awaiting_key("r", "late", name) for name in ("count", "critique")
        ]
        assert running.tracker(JOKES).pending == 0

    async def test_a_completed_run_takes_nothing_more(self, running: World) -> None:
        """Its steps in flight are stopped, late events are dropped, and nothing is suspended."""
        running.start("r", topic="x")
        await running.pump()
        await running.open("generate r")
        await running.open("critique r")
        running.send(JokeEvent(), "r", event_id="late", topic=JOKES)
        await running.pump()
        assert running.flow.gate.waiting == {}
        assert running.kept() == [state.end_key("r")]
        assert running.tracker(JOKES).pending == 0

    async def test_a_cancel_before_the_start_keeps_it_from_starting(self, running: World) -> None:
        """Whoever starts it hears where the end is."""
        running.happen(Cancelled(), "r")
        await running.pump()
        running.start("r", topic="x")
        await running.pump()
        assert running.flow.gate.entered == []
        known = running.happenings("r")[-1]
        assert isinstance(known, Known)
        assert known.end_offset == 0

    async def test_a_late_end_is_no_end(self, running: World) -> None:
        """The first terminal record counts, and is counted once."""
        running.start("r", topic="x")
        await running.pump()
        running.happen(Cancelled(), "r")
        running.happen(Completed(step="s", event_type="StopEvent", event="{}"), "r")
        await running.pump()
        assert running.ended == ["cancelled"]
        value = running.state[state.end_key("r")]
        assert End.decode(value).outcome == "cancelled"


class TestResume:
    async def failed(self, running: World) -> None:
        """Let a run fail in one of two steps; the other is in flight."""
        running.start("r", topic="bad")
        await running.pump()
        await running.open("generate r")
        await running.open("critique r")

    def resume(self, running: World, epoch: int = 1, appended_ms: int | None = None) -> None:
        """Ask for the run to go on."""
        running.happen(Resumed(), "r", appended_ms, epoch=epoch, event_id=f"request {epoch}")

    def answers(self, running: World) -> list[str]:
        """Return why requests were refused; empty where they were not."""
        found = running.happenings("r")
        return [each.refused for each in found if isinstance(each, Resumption)]

    async def test_what_failed_and_what_was_in_flight_runs_again(self, running: World) -> None:
        """And nothing else: what was committed before the end stays."""
        await self.failed(running)
        assert running.flow.gate.waiting == {}
        self.resume(running)
        await running.pump()
        assert sorted(running.flow.gate.waiting) == ["count r", "critique r"]
        assert self.answers(running) == [""]

    async def test_a_resumed_run_ends_in_its_new_epoch(self, running: World) -> None:
        """Its context is what it was, and nothing is kept of it afterwards but its end."""
        await self.failed(running)
        running.flow.mended = True
        self.resume(running)
        await running.pump()
        await running.open("critique r")
        ends = [each for each in running.happenings("r") if each.terminal]
        assert [each.kind for each in ends] == ["failed", "completed"]
        assert json.loads(ends[1].model_dump()["event"])["result"] == ["about bad", "r"]
        assert running.kept() == [state.end_key("r")]
        assert End.decode(running.state[state.end_key("r")]).epoch == 1
        assert running.flow.gate.waiting == {}

    async def test_parked_work_survives_a_crash(self, running: World) -> None:
        """It is in the state until what it gives is committed."""
        await self.failed(running)
        self.resume(running)
        await running.pump()
        await running.restart()
        assert sorted(running.flow.gate.waiting) == ["count r", "critique r"]
        await running.open("count r")
        await running.restart()
        assert sorted(running.flow.gate.waiting) == ["critique r"]
        assert len(running.kept(state.SUSPENDED)) == 1

    async def test_a_request_that_is_read_while_the_task_is_loaded_counts(
        self, running: World
    ) -> None:
        """Nothing begins before `runs` was read to its end, and then all of it does, once."""
        await self.failed(running)
        await running.crash()
        self.resume(running)
        running.deliver(TOPICS.runs, 1_000_000)
        assert running.flow.gate.entered == []
        await running.begin()
        await running.pump()
        assert sorted(running.flow.gate.entered) == ["count r", "critique r"]

    async def test_it_fails_again_and_is_resumed_again(self, running: World) -> None:
        """The epoch rises each time; what was in flight waits each time."""
        await self.failed(running)
        for epoch in (1, 2, 3):
            self.resume(running, epoch)
            await running.pump()
            await running.open("critique r")
        assert running.ended == ["failed"] * 4
        assert len(running.kept(state.AWAITING_RESUME)) == 2
        assert running.kept(state.SUSPENDED) == []

    async def test_late_events_join_the_new_epoch(self, running: World) -> None:
        """What a step has sent before the end counts, however late it is read."""
        running.start("r", topic="x")
        await running.pump()
        running.flow.gate.open("generate r")
        await turns()
        running.happen(Cancelled(), "r")
        running.deliver(TOPICS.runs, 1_000_000)
        await turns()
        self.resume(running)
        running.deliver(TOPICS.runs, 1_000_000)
        await turns()
        await running.pump()
        await running.open("critique r")
        assert isinstance(running.happenings("r")[-1], Completed)
        assert [parsed(each).epoch for each in running.topics[TOPICS.runs]][-1] == 1

    async def test_a_result_that_came_too_late_ends_the_resumed_run(self, running: World) -> None:
        """Its step is committed and never runs again, so else the run could not end."""
        running.start("r", topic="x")
        await running.pump()
        await running.open("generate r")
        running.happen(Cancelled(), "r")
        running.flow.gate.open("critique r")
        await turns()
        await running.pump()
        assert running.ended == ["cancelled"]
        assert [each.kind for each in running.happenings("r")][-1] == "completed"
        self.resume(running)
        await running.pump()
        assert running.ended == ["cancelled", "completed"]
        assert running.kept() == [state.end_key("r")]

    async def test_what_could_not_be_decoded_is_tried_again(self, running: World) -> None:
        """Every step that accepts it gets it, once the type fits."""
        envelope = Envelope(run_id="r", event_id="e1", type="JokeEvent")
        running.raw(JOKES, b'{"joke": 5}', envelope.headers())
        running.start("r", topic="x")
        await running.pump()
        assert running.ended == ["failed"]
        self.resume(running)
        await running.pump()
        assert running.buried == ["undecodable", "undecodable"]
        assert running.ended == ["failed", "failed"]
        with patch.object(resolve, "decoded", lambda *_: JokeEvent(joke="5")):
            self.resume(running, 2)
            await running.pump()
        assert sorted(running.flow.gate.waiting) == ["count r", "critique r", "generate r"]
        assert running.kept(state.SUSPENDED) == [
            *(state.suspended_key("r", "e1", name) for name in ("count", "critique")),
            state.suspended_key("r", "start r", "generate"),
        ]

    async def test_its_time_begins_anew(self, running: World) -> None:
        """The deadline counts from the request, in broker time."""
        running.start("r", topic="x", timeout=3600)
        await running.pump()
        running.happen(Cancelled(), "r")
        await running.pump()
        self.resume(running, appended_ms=50_000_000)
        await running.pump()
        kept = Run.decode(running.state[state.run_key("r")])
        assert kept.deadline_ms == 50_000_000 + 3_600_000

    async def test_an_end_of_an_older_epoch_ends_nothing(self, running: World) -> None:
        """A cancel that was meant for the run as it was before."""
        await self.failed(running)
        self.resume(running)
        running.happen(Cancelled(), "r")
        await running.pump()
        assert running.ended == ["failed"]
        running.happen(Cancelled(), "r", epoch=1)
        await running.pump()
        assert running.ended == ["failed", "cancelled"]

    async def test_who_starts_it_again_hears_of_the_epoch(self, running: World) -> None:
        """So that an older end is not taken for the one to come."""
        await self.failed(running)
        self.resume(running)
        await running.pump()
        running.start("r", event_id="again", topic="bad")
        await running.pump()
        (known,) = [each for each in running.topics[TOPICS.runs] if parsed(each).type == "known"]
        assert parsed(known).epoch == 1
        assert Known.model_validate_json(known.value or b"").end_offset is None

    @pytest.mark.parametrize(
        ("before", "epoch", "reason"),
        [
            ("never", 1, "nothing is kept of the run"),
            ("goes on", 1, "the run goes on"),
            ("completed", 1, "has completed"),
            ("failed", 3, "has epoch 0 and the request epoch 3"),
            ("resumed", 1, "goes on already"),
            ("cancelled", 1, "ended before it began"),
        ],
    )
    async def test_what_cannot_be_resumed_is_refused(
        self, running: World, before: str, epoch: int, reason: str
    ) -> None:
        """With the reason, in the log, and nothing changes."""
        if before in ("goes on", "completed"):
            running.start("r", topic="x")
            await running.pump()
        if before == "completed":
            await running.open("generate r")
            await running.open("critique r")
        if before in ("failed", "resumed"):
            await self.failed(running)
        if before == "resumed":
            self.resume(running)
        if before == "cancelled":
            running.happen(Cancelled(), "r")
        await running.pump()
        kept = running.kept()
        self.resume(running, epoch)
        await running.pump()
        assert reason in self.answers(running)[-1]
        assert running.kept() == kept


class TestDeadline:
    async def test_a_run_that_takes_too_long_times_out(self, running: World) -> None:
        """The record names the steps that run; the run ends when it is read back."""
        running.start("r", topic="x", timeout=0.001)
        await running.pump()
        running.clock.ms += 2
        while running.end("r") is None:  # noqa: ASYNC110 - the loop's own timer is what is awaited
            await asyncio.sleep(0.001)
        assert running.end("r") == TimedOut(timeout_seconds=0.001, active_steps=("generate",))
        assert running.flow.gate.waiting != {}
        await running.pump()
        assert running.flow.gate.waiting == {}
        assert running.ended == ["timed_out"]

    async def test_a_deadline_survives_a_crash(self, running: World) -> None:
        """It is in the state, in broker time, and passes while nobody is there."""
        running.start("r", topic="x", timeout=3600)
        await running.pump()
        await running.crash()
        running.clock.ms += 3_600_001
        await running.begin()
        assert running.end("r") == TimedOut(timeout_seconds=3600, active_steps=())

    async def test_a_deadline_that_has_not_passed_waits(self, running: World) -> None:
        """Not a millisecond early, by the broker's clock."""
        running.start("r", topic="x", timeout=3600)
        await running.pump()
        await running.crash()
        running.clock.ms += 3_599_999
        await running.begin()
        assert running.end("r") is None

    async def test_each_run_has_its_own(self, running: World) -> None:
        """The earliest passes first, whatever order they began in."""
        for name, seconds in (("late", 7200), ("soon", 3600), ("never", None)):
            running.start(name, topic="x", timeout=seconds)
        await running.pump()
        await running.crash()
        running.clock.ms += 3_600_001
        await running.begin()
        assert [running.end(name) is not None for name in ("late", "soon", "never")] == [
            False,
            True,
            False,
        ]

    async def test_a_run_that_ended_does_not_time_out(self, running: World) -> None:
        """Its result stands."""
        running.start("r", topic="x", timeout=0.001)
        await running.pump()
        running.happen(Cancelled(), "r")
        running.deliver(TOPICS.runs)
        running.clock.ms += 2
        await asyncio.sleep(0.003)
        await running.pump()
        assert [type(each) for each in running.happenings("r")] == [Started, Cancelled]


class TestRetention:
    @pytest.fixture
    async def swept(self, world: World, monkeypatch: pytest.MonkeyPatch) -> World:
        """A world that looks for what can be forgotten all the time, with one ended run."""
        for name in ("LOOK_SECONDS", "READ_SECONDS", "TURN_SECONDS"):
            monkeypatch.setattr(retention, name, 0.0005)
        have_passed = Retention._have_passed

        def asked(self: Retention, time_ms: float) -> bool:
            world.store.scans.release()
            return have_passed(self, time_ms)

        monkeypatch.setattr(Retention, "_have_passed", asked)
        await world.begin()
        world.happen(Cancelled(), "r")
        await world.pump()
        return world

    async def look(self, world: World) -> None:
        """Let looks happen, of a scan of each kind, and what they decide be committed.

        One that waits for the inputs asks for them again and again.
        """
        while world.store.scans._value:
            await world.store.scans.acquire()
        for _ in range(12):
            await world.store.scans.acquire()
        await turns()

    async def pass_time(self, world: World, ms: float, topics: Iterable[str]) -> None:
        """Look after *ms*, and again when all that was in *topics* by then was delivered."""
        world.clock.ms += ms
        await self.look(world)
        world.clock.ms += 0.5
        for topic in topics:
            world.task.intake.reaches(topic, world.positions[topic], world.positions[topic])
        await self.look(world)

    async def test_an_ended_run_is_forgotten_when_its_time_is_over(self, swept: World) -> None:
        """Once every input has passed the end, nothing of the run is left."""
        await self.pass_time(swept, 7 * DAY_MS + 1, swept.step_group.inputs)
        assert swept.kept() == []
        assert swept.indexed() == []

    async def test_not_before(self, swept: World) -> None:
        """A repeated start of it is still recognised."""
        await self.pass_time(swept, 7 * DAY_MS - 1, swept.step_group.inputs)
        assert swept.kept() == [state.end_key("r")]

    async def test_not_before_what_its_steps_had_sent_was_read(self, swept: World) -> None:
        """A commit that was under way when the end was read may have appended more of the run."""
        swept.clock.ms += 7 * DAY_MS + 1
        for topic in swept.step_group.inputs:
            swept.task.intake.reaches(topic, swept.positions[topic], swept.positions[topic])
        await self.look(swept)
        assert swept.kept() == [state.end_key("r")]
        await self.pass_time(swept, 1, swept.step_group.inputs)
        assert swept.kept() == []

    async def test_not_while_an_input_may_hold_older_records(self, swept: World) -> None:
        """An event from before the end would start the run anew."""
        await self.pass_time(swept, 7 * DAY_MS + 1, swept.step_group.inputs[1:])
        assert swept.kept() == [state.end_key("r")]

    async def test_older_work_of_another_run_is_no_reason_to_wait(self, swept: World) -> None:
        """A step that takes an hour sends nothing of a run that ended, so the state stays small."""
        swept.send(JokeEvent(), "other", topic=JOKES, step="count")
        await swept.pump()
        await self.pass_time(swept, 7 * DAY_MS + 1, swept.step_group.inputs)
        assert state.end_key("r") not in swept.kept()

    async def test_a_run_without_a_start_is_kept_while_it_works(self, swept: World) -> None:
        """What its step gives, days later, would be kept for ever."""
        swept.send(JokeEvent(), "early", topic=JOKES, step="count")
        await swept.pump()
        await self.pass_time(swept, 7 * DAY_MS + 1, swept.step_group.inputs)
        assert swept.kept(state.SEEN) == [state.seen_key("early")]
        await swept.open("count early")
        for _ in range(retention.LOOKS):
            await self.pass_time(swept, 1, swept.step_group.inputs)
        assert swept.kept() == []
        assert swept.indexed() == []

    async def test_a_run_that_began_anew_is_not_forgotten(self, swept: World) -> None:
        """Its old end is forgotten, in a commit that takes long, and the id is used again."""
        swept.hold = True
        await self.pass_time(swept, 7 * DAY_MS + 1, swept.step_group.inputs)
        swept.start("r", topic="x")
        swept.deliver(START)
        await self.look(swept)
        swept.hold = False
        while swept.log.pending is not None:
            swept.log.decide()
            await turns()
        assert swept.kept() == [state.run_key("r")]

    async def test_many_are_forgotten_a_few_at_a_time(
        self, swept: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A turn goes on where the last one stopped."""
        monkeypatch.setattr(retention, "TURN_ENTRIES", 4)
        for number in range(10):
            swept.happen(Cancelled(), f"r{number}")
        await swept.pump()
        await self.pass_time(swept, 7 * DAY_MS + 1, swept.step_group.inputs)
        assert swept.kept() == []
        assert swept.indexed() == []

    async def test_an_end_that_was_read_late_is_forgotten_too(
        self, swept: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is older than what a look has come to; some looks begin with the oldest again."""
        monkeypatch.setattr(retention, "LOOKS", 3)
        await self.pass_time(swept, 7 * DAY_MS + 1, swept.step_group.inputs)
        swept.happen(Cancelled(), "late", appended_ms=EPOCH_MS)
        await swept.pump()
        for _ in range(3):
            await self.pass_time(swept, 1, swept.step_group.inputs)
        assert swept.kept() == []

    async def test_what_is_not_due_is_not_looked_at(self, swept: World) -> None:
        """A look reads what is due and one turn more, however much is kept."""
        for number in range(3_000):
            swept.happen(Cancelled(), f"r{number}")
        await swept.pump()
        read = swept.store.read
        await self.look(swept)
        # Twelve scans were waited for, and some more may have followed.
        assert swept.store.read - read <= 24 * retention.TURN_ENTRIES

    async def test_ends_of_an_earlier_version_are_indexed_once(self, world: World) -> None:
        """A local copy that has no index is read through when its task begins."""
        await world.begin()
        world.happen(Cancelled(), "r")
        world.send(JokeEvent(), "early", topic=JOKES)
        await world.pump()
        indexed = world.indexed()
        assert len(indexed) == 2
        for key in (*indexed, ends_index.COMPLETE):
            del world.store._values[key]
        await ends_index.complete(world.store)
        assert world.indexed() == indexed
        scans = world.store.scans._value
        await ends_index.complete(world.store)
        assert world.store.scans._value == scans


class TestLeftovers:
    """What a crash, an end or a new version finds half done."""

    async def half_done(self, world: World) -> None:
        """Leave a joke that one of its two steps is done with, and crash."""
        world.start("r", topic="x")
        await world.pump()
        await world.open("generate r")
        await world.open("count r")
        assert world.kept(state.DONE) == [state.done_prefix(JOKES, 0) + b"count"]
        await world.crash()

    async def test_marks_go_with_an_event_whose_run_is_over(self, running: World) -> None:
        """The event comes again after its run's end and is dropped, and its marks with it."""
        await self.half_done(running)
        running.happen(Completed(step="s", event_type="StopEvent", event="{}"), "r")
        await running.begin()
        await running.pump()
        assert running.flow.gate.entered == []
        assert running.kept() == [state.end_key("r")]

    async def test_a_step_that_is_done_is_not_suspended(self, running: World) -> None:
        """A resumed run would compute again what was committed."""
        await self.half_done(running)
        running.happen(Cancelled(), "r")
        await running.begin()
        await running.pump()
        (key,) = running.kept(state.AWAITING_RESUME)
        assert key.endswith(b"critique")
        assert running.kept(state.DONE) == []

    async def test_a_start_that_was_in_flight_is_suspended_with_its_run(
        self, running: World
    ) -> None:
        """The run was cancelled while nobody owned the partition; it can still be resumed."""
        running.start("r", topic="x")
        await running.pump()
        await running.crash()
        running.happen(Cancelled(), "r")
        await running.begin()
        await running.pump()
        assert running.kept(state.AWAITING_RESUME) == [
            state.awaiting_key("r", "start r", "generate")
        ]
        assert [type(each) for each in running.happenings("r")] == [Started, Cancelled]

    async def deploy(self, world: World, *names: str) -> None:
        """Restart with a version of the workflow that has only these steps."""
        steps = definition.graph(WiderFlow).step_by_name
        graph = replace(definition.graph(WiderFlow), steps=tuple(steps[name] for name in names))
        world.step_group = replace(world.step_group, graph=graph)
        await world.restart()

    async def test_a_step_that_a_new_version_lacks_holds_up_nothing(self, running: World) -> None:
        """Where all that is left is done, the event is, and no mark stays behind."""
        await self.deploy(running, "generate", "critique", "count", "extra")
        running.start("r", topic="x")
        await running.pump()
        await running.open("generate r")
        await running.open("count r", "extra r")
        await self.deploy(running, "generate", "count", "extra")
        assert running.flow.gate.entered == []
        assert running.tracker(JOKES).pending == 0
        assert running.kept(state.DONE) == []

    async def test_a_step_that_is_done_stays_done_where_it_is_the_only_one_left(
        self, running: World
    ) -> None:
        """The new version has one step for the event, and that had ended before."""
        await self.half_done(running)
        await self.deploy(running, "generate", "count")
        assert running.flow.gate.entered == []
        assert running.tracker(JOKES).pending == 0
        assert running.kept(state.DONE) == []


class TestDeadLetters:
    async def buried(self, world: World) -> DeadLetter:
        await world.pump()
        (letter,) = world.letters()
        assert world.buried == [letter.reason]
        return letter

    async def goes_on(self, world: World) -> None:
        """One bad record never stops a partition."""
        world.start("good", topic="x")
        await world.pump()
        await world.open("generate good")
        await world.open("count good", "critique good")
        assert isinstance(world.end("good"), Completed)
        assert world.tracker(START).pending == world.tracker(JOKES).pending == 0

    async def test_what_is_no_event_of_its_type(self, running: World) -> None:
        """An undecodable record fails its run, with the reason, at once."""
        envelope = Envelope(run_id="r", event_id="e1", type="JokeEvent")
        running.raw(JOKES, b'{"joke": 5}', envelope.headers())
        letter = await self.buried(running)
        assert (letter.reason, letter.topic, letter.offset) == ("undecodable", JOKES, 0)
        end = running.end("r")
        assert isinstance(end, Failed)
        assert "cannot be read as JokeEvent: joke" in end.failure.message
        await self.goes_on(running)

    async def test_a_type_that_no_step_accepts(self, running: World) -> None:
        """On an event topic it is an error; the message names topic, type and engine."""
        envelope = Envelope(run_id="r", event_id="e1", type="Other")
        running.raw(JOKES, b"{}", envelope.headers())
        letter = await self.buried(running)
        assert letter.reason == "unknown_type"
        assert "fleet.joke.JokeEvent got Other, which no step of fleet.joke.main" in (
            letter.failure.message
        )
        assert isinstance(running.end("r"), Failed)
        await self.goes_on(running)

    async def test_a_type_in_a_topic_that_is_not_its_own_stays_an_error(
        self, running: World
    ) -> None:
        """Also where the run is resumed: no version of the workflow has sent it there."""
        running.raw(JOKES, b"{}", Envelope(run_id="r", event_id="e1", type="Other").headers())
        await self.buried(running)
        await running.restart()
        await self.goes_on(running)
        assert running.kept(state.SUSPENDED) == []

    async def test_a_start_event_that_cannot_be_read(self, running: World) -> None:
        """Its sender waits for `started` or `known` before any end counts."""
        envelope = Envelope(run_id="r", event_id="s1", type="StartEvent")
        running.raw(START, b"[]", envelope.headers())
        assert (await self.buried(running)).reason == "undecodable"
        first, second = running.happenings("r")
        assert first == Started(start_event_id="s1")
        assert isinstance(second, Failed)

    @pytest.mark.parametrize("topic", [START, JOKES, TOPICS.inbox, TOPICS.runs])
    async def test_a_record_without_an_envelope(self, running: World, topic: str) -> None:
        """Somebody else's record belongs to no run and stops nothing, in any topic."""
        running.raw(topic, b"\xff", [("other", b"x")])
        assert (await self.buried(running)).reason == "broken_envelope"
        await self.goes_on(running)

    async def test_a_lifecycle_record_that_cannot_be_read(self, running: World) -> None:
        """Somebody else has written it; the run is left alone."""
        envelope = Envelope(run_id="r", event_id="e1", type="started")
        running.raw(TOPICS.runs, b"\xff", envelope.headers())
        assert (await self.buried(running)).reason == "unknown_lifecycle"
        await self.goes_on(running)

    async def test_a_failed_step(self, running: World) -> None:
        """The event is kept with the stack; the run fails with the original error."""
        running.start("r", topic="bad")
        await running.pump()
        await running.open("generate r")
        await running.open("critique r")
        letter = await self.buried(running)
        assert (letter.reason, letter.step, letter.attempts) == ("failed", "critique", 1)
        assert letter.failure.type == "LookupError"
        end = running.end("r")
        assert isinstance(end, Failed)
        assert (end.step, end.failure) == ("critique", letter.failure)
        assert running.kept(state.CONTEXT) == [state.context_prefix("r") + b"seen.generate"]
        await self.goes_on(running)

    async def test_a_result_that_is_too_large(self, running: World) -> None:
        """It is found before the commit, and nothing of the attempt is left."""
        running.start("r", size=1_100_000)
        await running.pump()
        await running.open("generate r")
        assert (await self.buried(running)).reason == "too_large"
        assert isinstance(running.end("r"), Failed)
        assert running.topics[JOKES] == []
        assert running.kept(state.CONTEXT) == []
        assert running.history()[0].outcome == "raised"
        await self.goes_on(running)


class Chance:
    """A history of random acts, with what can be done at each point."""

    RUNS = 4

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.crashes = 0

    async def play(self) -> None:
        """Act at random, then let everything come to its end."""
        world = self.world
        world.hold = True
        await world.begin()
        for number in range(self.RUNS):
            world.start(f"r{number}", topic="bad" if number == 0 else f"t{number}")
        for _ in range(120):
            await self.random.choice(self.acts())()
            await turns()
        world.hold = False
        if world.log.pending is not None:
            world.log.decide()
        while True:
            await turns()
            await world.pump()
            if not world.flow.gate.waiting:
                break
            world.flow.gate.open(next(iter(world.flow.gate.waiting)))
        await world.task.drain(60)

    def acts(self) -> list[Callable[[], Awaitable[None]]]:
        """Return what can happen now, likely things several times."""
        acts: list[Callable[[], Awaitable[None]]] = [*[self.deliver] * 6, self.crash]
        acts += [self.finish] * 6 if self.world.flow.gate.waiting else []
        acts += [self.commit] * 6 if self.world.log.pending is not None else []
        return acts

    async def deliver(self) -> None:
        self.world.deliver(self.random.choice(self.world.step_group.inputs))

    async def finish(self) -> None:
        self.world.flow.gate.open(self.random.choice(sorted(self.world.flow.gate.waiting)))

    async def commit(self) -> None:
        self.world.log.decide()

    async def crash(self) -> None:
        pending = self.world.log.pending
        if pending is not None and self.random.random() < 0.5:
            self.world.apply(pending)
        await self.world.crash()
        for topic in (START, JOKES, TOPICS.inbox):
            # The group's own offsets follow lazily, so reading may begin before the frontier.
            self.world.positions[topic] = self.random.randint(0, self.world.positions[topic])
        await self.world.begin()


@pytest.mark.parametrize("seed", range(40))
async def test_any_history_of_crashes_ends_every_run_once(world: World, seed: int) -> None:
    """Whatever is lost on the way: each run has its own result, and no result is paid twice."""
    await Chance(world, seed).play()
    for number in range(1, Chance.RUNS):
        expected = f'{{"result":["about t{number}","r{number}"]}}'
        context = f'{{"seen":{{"generate":"r{number}"}}}}'
        assert world.end(f"r{number}") == Completed(
            step="critique", event_type="StopEvent", event=expected, context=context
        )
    failed = world.end("r0")
    assert isinstance(failed, Failed)
    assert failed.failure.message == "about bad"
    for number in range(Chance.RUNS):
        kinds = [type(each) for each in world.happenings(f"r{number}")]
        assert kinds.count(Started) == 1
        assert len([kind for kind in kinds if kind.terminal]) == 1
    attempts = [(each.event_id, each.step) for each in world.history()]
    assert len(set(attempts)) == len(attempts)
    events = [parsed(record).event_id for record in world.topics[JOKES]]
    assert len(set(events)) == len(events) == Chance.RUNS
    # A run without a result is kept for whoever resumes it; of the others there is their end.
    kept = {key for key in world.kept() if b"r0" not in key}
    assert kept == {state.end_key(f"r{number}") for number in range(1, Chance.RUNS)}
    assert world.kept(state.DONE) == []
    assert world.lost == []
    assert all(world.tracker(topic).pending == 0 for topic in (START, JOKES, TOPICS.runs))


class LaterEvent(Event):
    text: str = ""


class LaterFlow(WiderFlow):
    """One more event type."""

    @step
    async def count(self, ctx: Context, ev: JokeEvent) -> LaterEvent | None:  # type: ignore[override]
        await self.gate.at(f"count {ctx.run_id}")
        return None

    @step
    async def later(self, ctx: Context, ev: LaterEvent) -> None:
        await self.gate.at(f"later {ctx.run_id}")


class TestAnotherVersion:
    """What only another version of the workflow has steps for waits for it, in the state."""

    async def deploy(self, world: World, flow: type[JokeFlow]) -> None:
        """Restart with another version."""
        world.step_group = replace(world.step_group, graph=definition.graph(flow))
        world.flow = LaterFlow()
        await world.restart()

    async def began(self, world: World) -> None:
        """Let a run begin that goes on."""
        world.start("r", topic="x")
        await world.pump()

    async def test_an_event_from_outside_waits_for_a_version_that_knows_its_type(
        self, running: World
    ) -> None:
        """It is done in the inbox, no dead letter, and is run where the version is there."""
        await self.began(running)
        running.send(LaterEvent(), "r", topic=TOPICS.inbox)
        await running.pump()
        assert running.tracker(TOPICS.inbox).pending == 0
        await running.restart()
        assert running.topics[TOPICS.dead] == []
        assert len(running.kept(state.SUSPENDED)) == 1

        await self.deploy(running, LaterFlow)

        assert "later r" in running.flow.gate.entered
        await running.open("later r")
        assert running.kept(state.SUSPENDED) == []

    async def test_an_event_for_a_step_waits_for_a_version_that_has_it(
        self, running: World
    ) -> None:
        """The type is known and the step is not."""
        await self.began(running)
        running.send(JokeEvent(), "r", step="extra")
        await running.pump()
        assert running.topics[TOPICS.dead] == []

        await self.deploy(running, WiderFlow)

        assert "extra r" in running.flow.gate.entered

    async def test_suspended_work_survives_a_version_that_does_not_know_it(
        self, running: World
    ) -> None:
        """Back and forth, and resumed in between: it is there when its version is."""
        await self.deploy(running, LaterFlow)
        await self.began(running)
        running.send(LaterEvent(), "r", topic=TOPICS.inbox)
        await running.pump()
        running.happen(Cancelled(), "r")
        await running.pump()
        await self.deploy(running, JokeFlow)
        running.happen(Resumed(), "r", epoch=1)
        await running.pump()
        await running.restart()
        assert running.topics[TOPICS.dead] == []

        await self.deploy(running, LaterFlow)

        assert "later r" in running.flow.gate.entered

    @pytest.mark.parametrize("begun", [True, False], ids=["started", "never started"])
    async def test_what_waits_goes_with_its_run(self, running: World, *, begun: bool) -> None:
        """Frozen when the run ends without a result, and gone when it is forgotten."""
        if begun:
            await self.began(running)
        running.send(LaterEvent(), "r", topic=TOPICS.inbox)
        await running.pump()
        assert len(running.kept(state.SUSPENDED)) == 1

        running.happen(Cancelled(), "r")
        await running.pump()

        assert running.kept(state.SUSPENDED) == []
        assert state.awaiting_key("r", "o", "") in running.state

    async def test_ends_are_kept_while_events_wait_for_another_version(
        self, running: World
    ) -> None:
        """Else their run would begin again where they are read."""
        running.task.inputs.reading.leaves_unread(frozenset({"fleet.joke.Later"}))

        assert not running.task.inputs.have_passed(0)
