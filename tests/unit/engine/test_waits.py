"""Waits for events in a task: any order of wait and answer, each answer once, and nothing left."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from refusing import refuse
from task_world import TOPICS, Clock, Gate, World, parsed, turns

from fleet import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    step,
)
from fleet.engine import commits, task
from fleet.engine.timers import waking
from fleet.engine.transitions import ends
from fleet.engine.transitions.waiting import answers, reasons
from fleet.records import state
from fleet.records.events import type_name
from fleet.records.lifecycle import Cancelled, Completed, Failed, Resumed
from fleet.workflow.definition import Definition


class Ask(InputRequiredEvent):
    text: str = ""


class Say(HumanResponseEvent):
    text: str
    by: str = ""


class Tick(Event):
    number: int


class WaitFlow(Definition, workflow="joke"):
    """Its steps wait as the start event says."""

    def __init__(self) -> None:
        self.gate = Gate()
        #: What each wait gave: the event's number, or -1 of the start, and the answer.
        self.got: list[tuple[int, str]] = []
        self.fails = False
        self.tops = 0

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> list[Tick]:
        return [Tick(number=number) for number in range(ev.get("ticks", 1))]

    @step(num_workers=1)
    async def ask(self, ctx: Context, ev: Tick) -> Say | None:
        self.tops += 1
        await self.gate.at(f"before {ev.number}")
        try:
            said = await ctx.wait_for_event(
                Say, Ask(text=str(ev.number)), requirements={"by": str(ev.number)}, timeout=60
            )
        except TimeoutError:
            self.got.append((ev.number, "no one"))
            return Say(text="no one")
        self.got.append((ev.number, said.text))
        await self.gate.at(f"after {ev.number}")
        if self.fails:
            raise LookupError(said.text)
        return Say(text=said.text)

    @step
    async def take(self, ctx: Context, ev: Say) -> None:
        self.gate.entered.append(f"take {ev.text}")

    @step
    async def join(self, ctx: Context, evs: list[Say]) -> StopEvent:
        return StopEvent(result=sorted(ev.text for ev in evs))


class QuietFlow(Definition, workflow="joke"):
    """No step accepts what its step waits for, one time after the other."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.fails = False

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await self.gate.at("before")
        said = []
        for number in range(ev.get("times", 1)):
            answer = await ctx.wait_for_event(Say, Ask(text=str(number)), f"wait {number}")
            said.append(answer.text)
        await self.gate.at("after")
        if self.fails:
            raise LookupError(said)
        return StopEvent(result=said)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(commits, "GATHER_SECONDS", 0)
    monkeypatch.setattr(commits, "LATER_SECONDS", 0)
    monkeypatch.setattr(waking, "BUSY_SECONDS", 0)
    monkeypatch.setattr(waking, "LOOK_SECONDS", 0.001)
    made = Clock()
    monkeypatch.setattr(task, "BrokerClock", lambda *_: made)
    return made


@pytest.fixture
async def worlds(clock: Clock) -> AsyncIterator[list[World]]:
    made: list[World] = []
    yield made
    for world in made:
        for each in world.made:
            await each.close()


@pytest.fixture
async def quiet(clock: Clock, worlds: list[World]) -> World:
    return await begun(worlds, World(clock, QuietFlow()))


@pytest.fixture
async def listed(clock: Clock, worlds: list[World]) -> World:
    return await begun(worlds, World(clock, WaitFlow()))


async def begun(worlds: list[World], world: World) -> World:
    worlds.append(world)
    await world.begin()
    return world


async def start(world: World, *, waits: bool = True, **fields: Any) -> None:
    """Start a run; let its steps wait."""
    world.start("r", **fields)
    await world.pump()
    if waits:
        await world.open(*[place for place in world.flow.gate.waiting if "before" in place])


def say(world: World, text: str = "yes", by: str = "", event_id: str = "", **parts: Any) -> None:
    """Append an answer, as a caller does whose workflow has no step for it."""
    taken = type_name(Say) in world.step_group.graph.accepting
    unaccepted = "" if taken else "tests.Say"
    given = {"unaccepted": unaccepted, "event_id": event_id or f"answer {text[:9]}", **parts}
    world.send(Say(text=text, by=by), "r", topic=TOPICS.inbox, **given)


async def answer(world: World, text: str = "yes", by: str = "", **parts: Any) -> None:
    say(world, text, by, **parts)
    await world.pump()


async def pass_seconds(world: World, seconds: float) -> None:
    """Let broker time pass, and what is due happen; everything has been read by then."""
    world.clock.ms += seconds * 1000
    world.read_all()
    for _ in range(20):
        await asyncio.sleep(0.001)
    await world.pump()


async def finish(world: World) -> None:
    """Let steps that have their answers end."""
    while places := list(world.flow.gate.waiting):
        await world.open(*places)


def result(world: World) -> str:
    completed = world.end("r")
    assert isinstance(completed, Completed), completed
    return completed.event


def questions(world: World) -> list[str]:
    shown = [parsed(record) for record in world.topics[TOPICS.stream]]
    return [envelope.type for envelope in shown if envelope.type == "Ask"]


def of_waits(world: World) -> list[bytes]:
    prefixes = (state.WAITING, state.DUE, state.ANSWER, state.CALL, state.SUSPENDED)
    return [key for prefix in prefixes for key in world.kept(prefix)]


class TestOrders:
    """The answer may come at any moment; it ends one wait, once."""

    async def test_after_the_wait_is_committed(self, quiet: World) -> None:
        await start(quiet)
        assert len(quiet.kept(state.WAITING)) == 1
        await answer(quiet)
        await finish(quiet)
        assert result(quiet) == '{"result":["yes"]}'
        assert of_waits(quiet) == []
        assert questions(quiet) == ["Ask"]

    async def test_before_the_wait(self, quiet: World) -> None:
        await start(quiet, waits=False)
        await answer(quiet)
        assert len(quiet.kept(state.ANSWER)) == 1
        await quiet.open("before")
        await pass_seconds(quiet, 0)
        await finish(quiet)
        assert result(quiet) == '{"result":["yes"]}'
        assert questions(quiet) == ["Ask"]
        assert of_waits(quiet) == []

    async def test_before_the_start(self, quiet: World) -> None:
        """The topics have no order among each other."""
        await answer(quiet)
        await start(quiet)
        await pass_seconds(quiet, 0)
        await finish(quiet)
        assert result(quiet) == '{"result":["yes"]}'

    async def test_while_the_wait_is_being_committed(self, quiet: World) -> None:
        """It finds a wait that is decided and not in the log."""
        await start(quiet, waits=False)
        quiet.hold = True
        quiet.flow.gate.open("before")
        await turns()
        assert quiet.log.pending is not None
        say(quiet)
        quiet.deliver(TOPICS.inbox)
        quiet.hold = False
        quiet.log.decide()
        await turns()
        await finish(quiet)
        assert result(quiet) == '{"result":["yes"]}'

    async def test_the_step_has_it_with_its_own_commit(self, quiet: World) -> None:
        """It asks while that is under way, and nothing more is to be committed."""
        await start(quiet)
        quiet.hold = True
        say(quiet)
        quiet.deliver(TOPICS.inbox)
        await turns()
        quiet.flow.gate.open("before")
        await turns()
        assert "after" not in quiet.flow.gate.waiting
        quiet.hold = False
        quiet.log.decide()
        await turns()
        assert "after" in quiet.flow.gate.waiting

    async def test_in_the_same_commit_as_the_wait(self, quiet: World) -> None:
        await start(quiet, waits=False)
        quiet.hold = True
        quiet.start("other")
        quiet.deliver(TOPICS.event("StartEvent"))
        await turns()
        quiet.flow.gate.open("before")
        await turns()
        say(quiet)
        quiet.deliver(TOPICS.inbox)
        quiet.hold = False
        quiet.log.decide()
        await turns()
        await finish(quiet)
        assert result(quiet) == '{"result":["yes"]}'

    @pytest.mark.parametrize("early", [0, 1, 2, 3])
    async def test_each_wait_has_its_own_answer(self, quiet: World, early: int) -> None:
        """Some come before their waits, the others after them; in the order in which they come."""
        await start(quiet, waits=False, times=3)
        for number in range(early):
            await answer(quiet, f"{number}")
        await quiet.open("before")
        for number in range(early, 3):
            await turn_over(quiet)
            await answer(quiet, f"{number}")
        await turn_over(quiet)
        await finish(quiet)
        assert result(quiet) == '{"result":["0","1","2"]}'
        assert questions(quiet) == ["Ask"] * 3
        assert of_waits(quiet) == []

    async def test_from_a_client_that_does_not_say_that_no_step_takes_it(
        self, quiet: World
    ) -> None:
        """It is held for another version, which may have a step for it; a wait takes it."""
        await start(quiet, waits=False)
        await answer(quiet, unaccepted="")
        assert len(quiet.kept(state.SUSPENDED)) == 1
        await quiet.open("before")
        await pass_seconds(quiet, 0)
        await finish(quiet)
        assert result(quiet) == '{"result":["yes"]}'
        assert of_waits(quiet) == []


async def turn_over(world: World) -> None:
    """Let the step come to its next wait."""
    await pass_seconds(world, 0)
    while "before" in world.flow.gate.waiting:
        await world.open("before")
        await pass_seconds(world, 0)


class TestCrashes:
    async def test_a_wait_outlives_the_process(self, quiet: World) -> None:
        await start(quiet)
        await quiet.restart()
        assert "before" not in quiet.flow.gate.waiting
        await answer(quiet)
        await quiet.restart()
        await finish(quiet)
        assert result(quiet) == '{"result":["yes"]}'
        assert questions(quiet) == ["Ask"]

    async def test_an_early_answer_outlives_the_process(self, quiet: World) -> None:
        await start(quiet, waits=False)
        await answer(quiet)
        await quiet.restart()
        await quiet.open("before")
        await pass_seconds(quiet, 0)
        await finish(quiet)
        assert result(quiet) == '{"result":["yes"]}'

    async def test_an_answer_that_comes_again_ends_no_other_wait(self, listed: World) -> None:
        """A step that accepts it is not done with it, and the process dies."""
        await start(listed, ticks=1)
        listed.hold = True
        say(listed, "yes", by="0")
        listed.deliver(TOPICS.inbox)
        await turns()
        listed.hold = False
        listed.log.decide()
        await listed.restart()
        await finish(listed)
        assert result(listed) == '{"result":["yes"]}'
        assert listed.flow.gate.entered.count("take yes") >= 1
        assert of_waits(listed) == []


class TestFanOut:
    async def test_branches_wait_side_by_side_and_the_join_waits_for_them(
        self, listed: World
    ) -> None:
        await start(listed, ticks=3)
        await finish(listed)
        assert len(listed.kept(state.WAITING)) == 3
        for number in (2, 0, 1):
            assert listed.end("r") is None
            await answer(listed, f"to {number}", by=f"{number}")
            await finish(listed)
        assert result(listed) == '{"result":["to 0","to 1","to 2"]}'
        assert of_waits(listed) == []
        assert listed.kept(state.SCOPE) + listed.kept(state.ITEM) == []

    async def test_an_answer_that_a_step_accepts_goes_there_too(self, listed: World) -> None:
        """Not to the step that waited for it, and once."""
        await start(listed, ticks=1)
        await answer(listed, "a", by="0")
        await finish(listed)
        # Once for the answer, and once for what the step returned.
        assert listed.flow.gate.entered.count("take a") == 2
        assert listed.flow.got == [(0, "a")]


class TestTime:
    async def test_a_wait_times_out_and_not_before(self, listed: World) -> None:
        await start(listed, ticks=1)
        await pass_seconds(listed, 59)
        await finish(listed)
        assert listed.flow.got == []
        await pass_seconds(listed, 1)
        await finish(listed)
        assert listed.flow.got == [(0, "no one")]
        await answer(listed, "late", by="0")
        assert result(listed) == '{"result":["no one"]}'
        assert of_waits(listed) == []

    async def test_the_time_of_a_wait_passes_without_a_worker(self, listed: World) -> None:
        await start(listed, ticks=1)
        await listed.crash()
        listed.clock.ms += 3_600_000
        await listed.begin()
        await pass_seconds(listed, 0)
        await finish(listed)
        assert listed.flow.got == [(0, "no one")]

    async def test_an_answer_that_came_in_time_counts_if_it_is_read_late(
        self, listed: World
    ) -> None:
        """Nothing was read while no worker ran."""
        await start(listed, ticks=1)
        await listed.crash()
        say(listed, "in time", by="0")
        listed.clock.ms += 3_600_000
        await listed.begin()
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert listed.flow.got == []
        await listed.pump()
        listed.read_all()
        await finish(listed)
        assert listed.flow.got[0] == (0, "in time")

    async def test_an_answer_takes_the_time_away(self, listed: World) -> None:
        await start(listed, ticks=1)
        await answer(listed, "yes", by="0")
        assert listed.kept(state.DUE) == []
        await pass_seconds(listed, 61)
        await finish(listed)
        assert listed.flow.got == [(0, "yes")] * len(listed.flow.got)


class TestEnds:
    async def test_an_answer_of_any_client_after_the_end_is_there_after_the_resume(
        self, quiet: World
    ) -> None:
        """It does not say that no step takes it, so another version may have one (seed 4169)."""
        await start(quiet, waits=False)
        quiet.happen(Cancelled(reason="x"), "r")
        await quiet.pump()
        await answer(quiet, unaccepted="")
        quiet.happen(Resumed(reason="y"), "r", epoch=1, event_id="again")
        await quiet.pump()
        await quiet.open("before")
        await pass_seconds(quiet, 0)
        await finish(quiet)
        assert isinstance(quiet.happenings("r")[-1], Completed)
        assert of_waits(quiet) == []

    @pytest.mark.parametrize("when", ["before", "after"])
    async def test_a_wait_goes_on_with_its_run(self, quiet: World, when: str) -> None:
        """The answer comes before the resume, or after it."""
        await start(quiet)
        quiet.happen(Cancelled(reason="x"), "r")
        await quiet.pump()
        assert quiet.kept(state.WAITING) + quiet.kept(state.DUE) == []
        assert len(quiet.kept(state.AWAITING_RESUME)) == 1
        if when == "before":
            await answer(quiet)
        quiet.happen(Resumed(reason="y"), "r", epoch=1, event_id="again")
        await quiet.pump()
        if when == "after":
            assert len(quiet.kept(state.WAITING)) == len(quiet.kept(state.DUE)) == 1
            await answer(quiet)
        await finish(quiet)
        ends = [each for each in quiet.happenings("r") if each.terminal]
        assert isinstance(ends[-1], Completed)
        assert questions(quiet) == ["Ask"]
        assert of_waits(quiet) == []

    async def test_a_step_that_failed_with_its_answer_has_it_when_it_is_resumed(
        self, quiet: World
    ) -> None:
        quiet.flow.fails = True
        await start(quiet)
        await answer(quiet)
        await finish(quiet)
        assert isinstance(quiet.end("r"), Failed)
        quiet.flow.fails = False
        quiet.happen(Resumed(reason="y"), "r", epoch=1, event_id="again")
        await quiet.pump()
        await finish(quiet)
        assert isinstance(quiet.happenings("r")[-1], Completed)
        assert of_waits(quiet) == []

    async def test_an_answer_after_the_end_waits_for_a_wait_after_the_resume(
        self, quiet: World
    ) -> None:
        await start(quiet, waits=False)
        quiet.happen(Cancelled(reason="x"), "r")
        await quiet.pump()
        await answer(quiet)
        quiet.happen(Resumed(reason="y"), "r", epoch=1, event_id="again")
        await quiet.pump()
        await quiet.open("before")
        await pass_seconds(quiet, 0)
        await finish(quiet)
        assert isinstance(quiet.happenings("r")[-1], Completed)

    async def test_a_result_leaves_nothing_of_waits(self, quiet: World) -> None:
        """Surplus answers included; what comes later is dropped."""
        await start(quiet)
        await answer(quiet, "yes")
        await answer(quiet, "surplus")
        await finish(quiet)
        await answer(quiet, "late")
        assert result(quiet) == '{"result":["yes"]}'
        assert of_waits(quiet) == []


class TestBounds:
    async def test_a_run_keeps_so_many_answers(
        self, quiet: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """More are dropped and counted, and fail no run."""
        monkeypatch.setattr(answers, "MOST_ANSWERS", 2)
        await start(quiet, waits=False, times=2)
        for number in range(4):
            await answer(quiet, f"{number}")
        assert len(quiet.kept(state.ANSWER)) == 2
        assert quiet.answers_dropped == ["Say", "Say"]
        await quiet.open("before")
        await turn_over(quiet)
        await turn_over(quiet)
        await finish(quiet)
        assert result(quiet) == '{"result":["0","1"]}'

    async def test_a_run_keeps_so_many_bytes(
        self, quiet: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(answers, "MOST_BYTES", 1_000)
        await start(quiet, waits=False)
        await answer(quiet, "x" * 600)
        await answer(quiet, "y" * 600)
        assert (len(quiet.kept(state.ANSWER)), quiet.answers_dropped) == (1, ["Say"])

    async def test_answers_to_a_run_that_never_begins_are_forgotten(self, quiet: World) -> None:
        await answer(quiet)
        assert len(quiet.kept(state.ANSWER)) == 1
        assert quiet.kept(state.SEEN) == [state.seen_key("r")]
        ends.forget_unstarted(quiet.task.ledger.open, "r")
        quiet.task.commits.now()
        await turns()
        assert quiet.kept() == []

    async def test_a_question_that_the_broker_refuses_fails_the_step(self, quiet: World) -> None:
        """And an answer that came meanwhile is there when the run is resumed."""
        await start(quiet, waits=False)
        refuse(quiet, lambda record: record.topic == TOPICS.stream)
        await quiet.open("before")
        assert isinstance(quiet.end("r"), Failed)
        assert quiet.kept(state.WAITING) == []


async def test_what_does_not_match_ends_no_wait(quiet: World) -> None:
    """Another type, another value, and what cannot be read as the type."""
    await start(quiet)
    quiet.send(Ask(text="?"), "r", topic=TOPICS.inbox, unaccepted="x.Ask", event_id="1")
    headers = parsed_headers("2", "Say")
    quiet.raw(TOPICS.inbox, b'{"nothing": 1}', headers)
    quiet.raw(TOPICS.inbox, b"not JSON", headers)
    await quiet.pump()
    assert len(quiet.kept(state.WAITING)) == 1
    await answer(quiet)
    await finish(quiet)
    assert result(quiet) == '{"result":["yes"]}'


def parsed_headers(event_id: str, kind: str) -> list[tuple[str, bytes]]:
    return [
        ("fleet-run-id", b"r"),
        ("fleet-event-id", event_id.encode()),
        ("fleet-type", kind.encode()),
        ("fleet-unaccepted", b"tests.Say"),
    ]


async def test_what_a_run_waits_for_is_said_in_words(listed: World) -> None:
    """A run that times out has them beside its active steps."""
    await start(listed, ticks=1)
    until = "2023-11-14T22:14:20Z"
    assert reasons.of_run(listed.task.ledger, "r") == (f"ask: waits for Say until {until}",)
