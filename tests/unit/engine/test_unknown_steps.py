"""Suspended work for steps that a version of the workflow does not have."""

import dataclasses
from collections.abc import AsyncIterator

import pytest
from task_world import TOPICS, Clock, World, turns

from fleet import Context, Event, StartEvent, StopEvent, step
from fleet.engine import commits, task
from fleet.records import state
from fleet.records.lifecycle import Completed, Failed, Resumed
from fleet.workflow import definition
from fleet.workflow.definition import Definition

HOUR_MS = 3_600_000


class OldFlow(Definition):
    """It sleeps in a step of its own."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.keys: list[str] = []

    @step
    async def nap(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.keys.append(ctx.idempotency_key)

        async def ask() -> str:
            self.asked.append(ctx.run_id)
            return "answer"

        got = await ctx.memo("ask", ask)
        await ctx.sleep(60)
        return StopEvent(result=got)


class WithoutFlow(OldFlow):
    """The step was removed, and another one takes its event."""

    nap = None  # type: ignore[assignment]

    @step
    async def rest(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result="rested")


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(commits, "GATHER_SECONDS", 0)
    monkeypatch.setattr(commits, "LATER_SECONDS", 0)
    clock = Clock()
    monkeypatch.setattr(task, "BrokerClock", lambda *_: clock)
    made = World(clock, OldFlow())
    await made.begin()
    yield made
    for each in made.made:
        await each.close()


async def settled(world: World) -> None:
    for _ in range(4):
        await turns()
        await world.pump()


async def deploy(world: World, flow: Definition) -> None:
    """Let a worker of another version have the partition."""
    await world.crash()
    await world.task.close()
    world.flow.asked = getattr(world.flow, "asked", [])
    world.flow, before = flow, world.flow
    flow.asked, flow.keys = before.asked, before.keys
    graph = definition.graph(type(flow))
    world.step_group = dataclasses.replace(world.step_group, graph=graph)
    world.task, world.log, world.store = world._new_task()
    await world.begin()
    await settled(world)


async def later(world: World, ms: float) -> None:
    """Let time pass."""
    world.clock.ms += ms
    world.task._waking.time_is_another()
    await settled(world)


async def suspended(world: World) -> None:
    """Let a run sleep."""
    world.start("r")
    await settled(world)
    assert len(world.kept(state.WAITING)) == 1


class TestMissing:
    """Of a step that was removed."""

    async def test_sleeping_work_waits_for_its_time(self, world: World) -> None:
        """Until then there is nothing to run, so nothing is missed."""
        await suspended(world)
        await deploy(world, WithoutFlow())
        assert len(world.kept(state.DUE)) == 1
        assert world.letters() == []

    async def test_a_version_with_the_step_runs_it(self, world: World) -> None:
        await suspended(world)
        await deploy(world, WithoutFlow())
        await later(world, 61_000)
        assert (len(world.kept(state.SUSPENDED)), world.letters()) == (1, [])

        await later(world, HOUR_MS - 1_000)
        await deploy(world, OldFlow())

        assert world.ended == [Completed.kind]
        assert world.kept() == [state.end_key("r")]
        assert len(world.flow.asked) == 1

    async def test_it_becomes_a_dead_letter_that_names_the_step(self, world: World) -> None:
        await suspended(world)
        await deploy(world, WithoutFlow())
        await later(world, 61_000)
        await later(world, HOUR_MS)

        (letter,) = world.letters()
        assert (letter.reason, letter.step) == ("unknown_step", "nap")
        assert "step nap" in letter.failure.message
        assert "formerly='nap'" in letter.failure.message
        assert world.ended == [Failed.kind]
        assert (world.kept(state.SUSPENDED), world.kept(state.DUE)) == ([], [])

    async def test_the_resumed_run_takes_it_up(self, world: World) -> None:
        """In the version that has the step, with what its step had recorded."""
        await suspended(world)
        await deploy(world, WithoutFlow())
        await later(world, 61_000)
        await later(world, HOUR_MS)
        await deploy(world, OldFlow())
        world.happen(Resumed(), "r", epoch=1)
        await settled(world)

        assert world.ended == [Failed.kind, Completed.kind]
        assert len(world.flow.asked) == 1

    async def test_the_time_goes_on_over_restarts(self, world: World) -> None:
        """And over workers that were away: the time counts from when the step was missed first."""
        await suspended(world)
        await deploy(world, WithoutFlow())
        await later(world, 61_000)
        for _ in range(2):
            world.clock.ms += HOUR_MS / 2
            await deploy(world, WithoutFlow())
        await later(world, 1)
        assert [letter.reason for letter in world.letters()] == ["unknown_step"]

    async def test_work_that_was_due_long_ago_waits_as_long(self, world: World) -> None:
        """No worker ran for a day: a version that has the step may come as well."""
        await suspended(world)
        world.clock.ms += 24 * HOUR_MS
        await deploy(world, WithoutFlow())
        await later(world, HOUR_MS / 2)
        assert (len(world.kept(state.SUSPENDED)), world.letters()) == (1, [])

    async def test_a_resume_in_the_same_version_waits_again(self, world: World) -> None:
        await suspended(world)
        await deploy(world, WithoutFlow())
        await later(world, 61_000)
        await later(world, HOUR_MS)
        world.happen(Resumed(), "r", epoch=1)
        await settled(world)
        assert (len(world.letters()), len(world.kept(state.DUE))) == (1, 1)
        await later(world, HOUR_MS)
        assert len(world.letters()) == 2

    async def test_it_is_forgotten_with_its_run(self, world: World) -> None:
        """Nothing of it is left if its run ends otherwise."""
        await suspended(world)
        await deploy(world, WithoutFlow())
        await later(world, 61_000)
        world.happen(Completed(step="nap", event_type="StopEvent", event="{}"), "r")
        await settled(world)
        assert world.kept() == [state.end_key("r")]

    async def test_an_event_that_is_sent_to_it(self, world: World) -> None:
        world.send(StartEvent(), "r", step="nap", parent_id="p")
        await deploy(world, WithoutFlow())
        assert len(world.kept(state.SUSPENDED)) == 1
        await later(world, HOUR_MS)
        assert [letter.step for letter in world.letters()] == ["nap"]

    async def test_an_event_of_an_unknown_type_waits_on(self, world: World) -> None:
        """It is for no certain step: no run fails by it."""
        world.start("r")
        await settled(world)
        world.send(StartEvent(), "r", TOPICS.inbox, type="Later")
        await settled(world)
        await later(world, 2 * HOUR_MS)
        assert world.letters() == []


class RenamedFlow(OldFlow):
    """The step has another name."""

    nap = None  # type: ignore[assignment]

    @step(formerly="nap")
    async def rest(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return await OldFlow.nap(self, ctx, ev)


class Piece(Event):
    number: int


class FanFlow(Definition):
    """A join takes what it fans out."""

    @step
    async def begin(self, ev: StartEvent) -> list[Piece]:
        return [Piece(number=number) for number in range(3)]

    @step
    async def gather(self, pieces: list[Piece]) -> StopEvent:
        return StopEvent(result=sorted(piece.number for piece in pieces))


class OtherFanFlow(FanFlow):
    """The join has another name, and does not say so."""

    gather = None  # type: ignore[assignment]

    @step
    async def collect(self, pieces: list[Piece]) -> StopEvent:
        return StopEvent(result=[])


class TestFanOuts:
    """Whose join was renamed while its events were on their way."""

    @pytest.fixture
    async def fanned(self, world: World) -> World:
        await deploy(world, FanFlow())
        world.start("r")
        world.deliver(TOPICS.event("StartEvent"))
        await turns()
        await deploy(world, OtherFanFlow())
        assert len(world.kept(state.SUSPENDED)) == 3
        return world

    async def test_no_event_is_lost_to_the_join(self, fanned: World) -> None:
        await deploy(fanned, FanFlow())
        assert fanned.ended == [Completed.kind]
        (end,) = [one for one in fanned.happenings("r") if isinstance(one, Completed)]
        assert end.event == '{"result":[0,1,2]}'
        assert fanned.kept() == [state.end_key("r")]

    async def test_they_become_dead_letters_that_name_it(self, fanned: World) -> None:
        await later(fanned, HOUR_MS)
        assert {letter.step for letter in fanned.letters()} == {"gather"}
        assert fanned.ended == [Failed.kind]
        await deploy(fanned, FanFlow())
        fanned.happen(Resumed(), "r", epoch=1)
        await settled(fanned)
        assert fanned.ended == [Failed.kind, Completed.kind]


class ForgottenFlow(OldFlow):
    """The step has another name, and does not say so."""

    nap = None  # type: ignore[assignment]

    @step
    async def rest(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return await OldFlow.nap(self, ctx, ev)


class TestRenamed:
    """Of a step that was renamed, and says so."""

    async def test_it_follows(self, world: World) -> None:
        """With its recorded calls, its sleep and its idempotency key; and nothing is left."""
        await suspended(world)
        await deploy(world, RenamedFlow())
        await later(world, 61_000)
        assert world.ended == [Completed.kind]
        assert world.kept() == [state.end_key("r")]
        assert (len(world.flow.asked), len(set(world.flow.keys))) == (1, 1)

    async def test_the_version_before_goes_on_with_its_work(self, world: World) -> None:
        """Of a run that only the later version has seen."""
        await deploy(world, RenamedFlow())
        await suspended(world)
        await deploy(world, OldFlow())
        await later(world, 61_000)
        assert world.ended == [Completed.kind]
        assert len(world.flow.asked) == 1

    async def test_the_way_out_of_a_dead_letter(self, world: World) -> None:
        """A release forgot `formerly`; the next one has it."""
        await suspended(world)
        await deploy(world, WithoutFlow())
        await later(world, 61_000)
        await later(world, HOUR_MS)
        await deploy(world, RenamedFlow())
        world.happen(Resumed(), "r", epoch=1)
        await settled(world)
        assert world.ended == [Failed.kind, Completed.kind]
        assert len(world.flow.asked) == 1

    async def test_what_began_under_the_new_name_is_finished_under_it(self, world: World) -> None:
        """A release forgot `formerly`; work of its own is under way when the next one comes."""
        await deploy(world, ForgottenFlow())
        await suspended(world)
        await deploy(world, RenamedFlow())
        await later(world, 61_000)
        assert world.ended == [Completed.kind]
        assert world.kept() == [state.end_key("r")]
        assert (len(world.flow.asked), len(set(world.flow.keys))) == (1, 1)

    @pytest.mark.parametrize("name", ["nap", "rest"])
    async def test_an_event_for_any_of_its_names(self, world: World, name: str) -> None:
        await deploy(world, RenamedFlow())
        world.send(StartEvent(), "r", step=name)
        await settled(world)
        assert [key.rsplit(b"\0")[-1] for key in world.kept(state.WAITING)] == [b"nap"]
