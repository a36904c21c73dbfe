"""Recorded calls in a task: each has its own commit, and outlives attempts and no more."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from refusing import refuse
from task_world import TOPICS, Clock, Gate, World, turns

from fleet import Context, Event, StartEvent, StopEvent, step
from fleet.engine import commits
from fleet.engine.transitions.sizes import RecordTooLarge
from fleet.records import state
from fleet.records.calls import Call, Scope
from fleet.records.lifecycle import Cancelled, Completed, Failed, Resumed
from fleet.workflow.definition import Definition
from fleet.workflow.errors import CallTooLate

PRICE = Call("memo", "price")
SHARED = Call("memo", "price", Scope.RUN)


class Tick(Event):
    number: int


class CallFlow(Definition, workflow="joke"):
    """Its steps record calls, as the test says."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.call = PRICE
        #: What each attempt got, and whether it had to ask.
        self.got: list[tuple[bytes, bool]] = []
        self.errors: list[BaseException] = []
        self.fails = False
        self.value = b"7"
        self.stray: asyncio.Task[None] | None = None

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Tick | None:
        for number in range(ev.get("ticks", 0)):
            ctx.send_event(Tick(number=number))
        for how in ev.get("wild", []):
            try:
                await getattr(self, f"_{how}")(ctx)
            except Exception as error:  # noqa: BLE001 - the test looks at it
                self.errors.append(error)
        return None

    @step(num_workers=8)
    async def tick(self, ctx: Context, ev: Tick) -> StopEvent | None:
        self.got.append(await self._recorded(ctx, f"{ctx.run_id} {ev.number}"))
        await self.gate.at(f"after {ctx.run_id} {ev.number}")
        if self.fails:
            raise LookupError(ev.number)
        return StopEvent(result="done") if ev.number == 7 else None

    async def _recorded(self, ctx: Context, place: str) -> tuple[bytes, bool]:
        calls = calls_of(ctx)
        async with calls.turn(self.call):
            found = await calls.read(self.call)
            if found is not None:
                return found, False
            await self.gate.at(f"in {place}")
            await calls.record(self.call, self.value)
            return self.value, True

    async def _large(self, ctx: Context) -> None:
        await calls_of(ctx).record(PRICE, b"x" * 1_100_000)

    async def _late(self, ctx: Context) -> None:
        async def record() -> None:
            await self.gate.at("stray")
            await calls_of(ctx).record(PRICE, b"9")

        self.stray = asyncio.create_task(record())
        await turns()

    async def _stubborn(self, ctx: Context) -> None:
        """It does not let itself be stopped, and goes on."""
        try:
            await self.gate.at("stubborn")
        except asyncio.CancelledError:
            self.gate.entered.append("was cancelled")
        try:
            await calls_of(ctx).record(PRICE, b"9")
        except asyncio.CancelledError:
            self.gate.entered.append("was refused")


def calls_of(ctx: Context) -> Any:
    make = ctx._surroundings.calls
    assert make is not None
    return make()


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A task that runs."""
    monkeypatch.setattr(commits, "GATHER_SECONDS", 0)
    monkeypatch.setattr(commits, "LATER_SECONDS", 0)
    made = World(Clock(), CallFlow())
    await made.begin()
    yield made
    for each in made.made:
        await each.close()


async def began(world: World, run_id: str = "r", **fields: Any) -> None:
    world.start(run_id, **fields)
    await world.pump()


class TestCommit:
    async def test_a_call_returns_with_its_own_commit(self, world: World) -> None:
        """The next line of the step runs when the value is in the log."""
        await began(world, ticks=1)
        world.hold = True
        await world.open("in r 0")
        assert world.flow.got == []
        assert world.log.pending is not None
        (key,) = (key for key in world.log.pending.changes if key.startswith(state.CALL))
        assert key.endswith(b"\0tick\0memo price")
        world.log.decide()
        await turns()
        assert world.flow.got == [(b"7", True)]

    async def test_the_result_removes_what_its_step_asked_for(self, world: World) -> None:
        """Until then it is there for another attempt."""
        await began(world, ticks=1)
        await world.open("in r 0")
        assert len(world.kept(state.CALL)) == 1
        await world.open("after r 0")
        assert world.kept(state.CALL) == []

    async def test_the_same_call_of_another_event_is_another(self, world: World) -> None:
        """A call is of its event and step."""
        await began(world, ticks=2)
        await world.open("in r 0", "in r 1")
        assert world.flow.got == [(b"7", True)] * 2


class TestOnce:
    async def test_a_repeated_attempt_gets_what_is_recorded(self, world: World) -> None:
        """After a crash, as often as it takes."""
        await began(world, ticks=1)
        await world.open("in r 0")
        for _ in range(2):
            await world.restart()
        assert world.flow.got == [(b"7", True), (b"7", False), (b"7", False)]
        await world.open("after r 0")
        assert world.kept(state.CALL) == []

    async def test_after_a_resume_too(self, world: World) -> None:
        """While its run may be resumed, nothing is removed."""
        world.flow.fails = True
        await began(world, ticks=1)
        await world.open("in r 0")
        await world.open("after r 0")
        assert isinstance(world.end("r"), Failed)
        world.flow.fails = False
        world.happen(Resumed(), "r", epoch=1)
        await world.pump()
        assert world.flow.got == [(b"7", True), (b"7", False)]

    async def test_what_was_not_committed_is_asked_for_again(self, world: World) -> None:
        """It had not returned."""
        await began(world, ticks=1)
        world.hold = True
        await world.open("in r 0")
        world.hold = False
        await world.restart()
        await world.open("in r 0")
        assert world.flow.got == [(b"7", True)]

    async def test_what_is_not_committed_yet_is_waited_for(self, world: World) -> None:
        """An attempt that finds what a stopped one has decided must not lose it later."""
        await began(world, ticks=1)
        world.hold = True
        await world.open("in r 0")
        world.happen(Cancelled(), "r")
        world.happen(Resumed(), "r", epoch=1)
        world.deliver(TOPICS.runs, 1_000)
        await turns()
        assert world.flow.got == []
        world.log.decide()
        await turns()
        assert world.log.pending is not None
        world.log.decide()
        await turns()
        assert world.flow.got == [(b"7", False)]


class TestShared:
    async def test_of_two_steps_one_asks(self, world: World) -> None:
        """The other one waits, and gets the same value."""
        world.flow.call = SHARED
        await began(world, ticks=2)
        assert [place for place in world.flow.gate.waiting if place.startswith("in")] == ["in r 0"]
        await world.open("in r 0")
        assert world.flow.got == [(b"7", True), (b"7", False)]
        await world.open("after r 0", "after r 1")
        assert world.kept(state.CALL) == [b"u\0r\0\0\0memo price"]

    async def test_it_waits_for_the_commit_too(self, world: World) -> None:
        """What it got must not be lost."""
        world.flow.call = SHARED
        await began(world, ticks=2)
        world.hold = True
        await world.open("in r 0")
        assert world.flow.got == []

    async def test_runs_share_nothing(self, world: World) -> None:
        """Each asks."""
        world.flow.call = SHARED
        await began(world, ticks=1)
        await began(world, "s", ticks=1)
        await world.open("in r 0", "in s 0")
        assert world.flow.got == [(b"7", True)] * 2

    async def test_a_completed_run_leaves_nothing(self, world: World) -> None:
        """What its steps shared goes with it."""
        world.flow.call = SHARED
        await began(world, ticks=8)
        await world.open("in r 0")
        await world.open("after r 7")
        assert isinstance(world.end("r"), Completed)
        assert world.kept(state.CALL) == []


class TestEnds:
    async def test_a_call_after_its_step_is_refused(self, world: World) -> None:
        """What the step has asked for is removed already."""
        await began(world, wild=["late"])
        world.flow.gate.open("stray")
        stray = world.flow.stray
        assert stray is not None
        with pytest.raises(CallTooLate, match="step begin had ended"):
            await stray
        assert world.kept(state.CALL) == []

    async def test_a_step_that_does_not_let_itself_be_stopped_records_nothing(
        self, world: World
    ) -> None:
        """Its run has ended."""
        await began(world, wild=["stubborn"])
        world.happen(Cancelled(), "r")
        await world.pump()
        assert world.flow.gate.entered[-2:] == ["was cancelled", "was refused"]
        assert world.kept(state.CALL) == []


class TestLimits:
    async def test_a_value_that_is_too_large_is_named(self, world: World) -> None:
        """Nothing is recorded."""
        await began(world, wild=["large"])
        (error,) = world.flow.errors
        assert isinstance(error, RecordTooLarge)
        assert "what 'memo price' of step begin gave has 1,100,000 bytes" in str(error)
        assert world.kept(state.CALL) == []

    async def test_what_the_broker_refuses_fails_its_step(self, world: World) -> None:
        """And no other: the rest of the commit is committed."""
        await began(world, ticks=1)
        await began(world, "good", ticks=1)
        refuse(world, lambda record: record.key.startswith(state.calls_prefix("r")))
        await world.open("in r 0", "in good 0")
        end = world.end("r")
        assert isinstance(end, Failed)
        assert end.failure.type == "ResultRefused"
        assert world.flow.got == [(b"7", True)]
