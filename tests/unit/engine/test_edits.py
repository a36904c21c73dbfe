"""`edit_state()` in a task: alone in its run, committed by itself, applied once."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel, Field
from pydantic_core import from_json
from refusing import refuse
from task_world import TOPICS, Clock, Gate, World, turns

from fleet import Context, ContextStateError, Event, StartEvent, StopEvent, step
from fleet.engine import commits
from fleet.records import state
from fleet.records.lifecycle import Cancelled, Completed, Failed, Resumed
from fleet.workflow.definition import Definition
from fleet.workflow.errors import EditTooLate, NestedEdit


class Count(BaseModel):
    count: int = 0
    names: list[str] = Field(default_factory=list)


class Tick(Event):
    number: int


class EditFlow(Definition, workflow="joke"):
    """Each tick counts in a block; the test lets it go on."""

    def __init__(self) -> None:
        self.gate = Gate()
        #: What each block saw, by tick.
        self.saw: dict[int, list[int]] = defaultdict(list)
        #: Ticks whose block has ended.
        self.left: list[int] = []
        self.errors: list[BaseException] = []
        self.fails_in_block: set[int] = set()
        self.fails: set[int] = set()
        self.stray: asyncio.Task[None] | None = None

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Tick | None:
        for number in range(ev.get("ticks", 1)):
            ctx.send_event(Tick(number=number))
        return None

    @step(num_workers=8)
    async def tick(self, ctx: Context[Count], ev: Tick) -> StopEvent | None:
        place = f"{ctx.run_id} {ev.number}"
        await self.gate.at(f"before {place}")
        await ctx.store.set("names", [f"set {ev.number}"])
        async with ctx.store.edit_state() as counted:
            await self.gate.at(f"in {place}")
            self.saw[ev.number].append(counted.count)
            counted.count += 1
            if ev.number in self.fails_in_block:
                raise LookupError(ev.number)
        self.left.append(ev.number)
        await self.gate.at(f"after {place}")
        if ev.number in self.fails:
            raise LookupError(ev.number)
        return StopEvent(result=await ctx.store.get("count")) if ev.number == 7 else None

    @step
    async def wild(self, ctx: Context[Count], ev: StartEvent) -> None:
        for how in ev.get("wild", []):
            try:
                await getattr(self, f"_{how}")(ctx)
            except Exception as error:  # noqa: BLE001 - the test looks at it
                self.errors.append(error)

    async def _nested(self, ctx: Context[Count]) -> None:
        async with ctx.store.edit_state() as counted:
            counted.count = 5
            await ctx.store.set("count", 6)

    async def _large(self, ctx: Context[Count]) -> None:
        async with ctx.store.edit_state() as counted:
            counted.names.append("x" * 1_000_000)

    async def _nothing(self, ctx: Context[Count]) -> None:
        async with ctx.store.edit_state():
            pass

    async def _set_names(self, ctx: Context[Count]) -> None:
        await ctx.store.set("names", ["set meanwhile"])

    async def _late(self, ctx: Context[Count]) -> None:
        async def edit() -> None:
            async with ctx.store.edit_state() as counted:
                await self.gate.at("stray")
                counted.count = 9

        self.stray = asyncio.create_task(edit())
        await turns()

    async def _stubborn(self, ctx: Context[Count]) -> None:
        """It does not let itself be stopped in its block, and goes on after it."""
        for place in ("stubborn", "later"):
            try:
                async with ctx.store.edit_state() as counted:
                    counted.count = 9
                    await self._sit_out(place)
            except asyncio.CancelledError:
                self.gate.entered.append(f"{place} was refused")

    async def _sit_out(self, place: str) -> None:
        try:
            await self.gate.at(place)
        except asyncio.CancelledError:
            self.gate.entered.append(f"{place} was cancelled")

    async def _later_set(self, ctx: Context[Count]) -> None:
        """What was set before a block is what it sees, and does not undo what it does."""
        await ctx.store.set("count", 40)
        async with ctx.store.edit_state() as counted:
            assert counted.count == 40
            counted.count += 1
        assert await ctx.store.get("count") == 41


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A task that runs."""
    monkeypatch.setattr(commits, "GATHER_SECONDS", 0)
    monkeypatch.setattr(commits, "LATER_SECONDS", 0)
    made = World(Clock(), EditFlow())
    await made.begin()
    yield made
    for each in made.made:
        await each.close()


def value(world: World, name: str, run_id: str = "r") -> object:
    """Return what is committed of a run's context."""
    found = world.state.get(state.context_prefix(run_id) + name.encode())
    return None if found is None else from_json(found)


async def began(world: World, run_id: str = "r", **fields: Any) -> None:
    world.start(run_id, **fields)
    await world.pump()


class TestCommit:
    async def test_a_block_ends_with_its_own_commit(self, world: World) -> None:
        """The next line of the step runs when the change is in the log."""
        await began(world)
        await world.open("before r 0")
        world.hold = True
        await world.open("in r 0")
        assert world.flow.left == []
        assert world.log.pending is not None
        changes = world.log.pending.changes
        assert changes[state.context_prefix("r") + b"count"] == b"1"
        # What the step has set takes effect with its result.
        assert state.context_prefix("r") + b"names" not in changes
        world.log.decide()
        await turns()
        assert world.flow.left == [0]

    async def test_the_note_goes_with_the_result(self, world: World) -> None:
        """Until then it tells a repeated attempt; the value stays."""
        await began(world)
        await world.open("before r 0")
        await world.open("in r 0")
        assert len(world.kept(state.EDIT)) == 1
        await world.open("after r 0")
        assert world.kept(state.EDIT) == []
        assert value(world, "count") == 1
        assert value(world, "names") == ["set 0"]

    async def test_a_block_that_raises_changes_nothing(self, world: World) -> None:
        """Its step fails with the block's own error."""
        world.flow.fails_in_block = {0}
        await began(world)
        await world.open("before r 0")
        await world.open("in r 0")
        end = world.end("r")
        assert isinstance(end, Failed)
        assert end.failure.type == "LookupError"
        assert world.kept(state.CONTEXT) + world.kept(state.EDIT) == []

    async def test_a_block_without_a_change_waits_for_nothing(self, world: World) -> None:
        """And leaves nothing."""
        world.hold = True
        world.start("r", ticks=0, wild=["nothing"])
        world.deliver(TOPICS.event("StartEvent"))
        await turns()
        assert world.task.attempts.active_steps("r") == set()

    async def test_what_was_set_before_does_not_undo_it(self, world: World) -> None:
        """A block sees what its attempt has set, and changes it for good."""
        await began(world, ticks=0, wild=["later_set"])
        assert world.flow.errors == []
        assert value(world, "count") == 41


class TestAlone:
    async def test_one_block_of_a_run_at_a_time(self, world: World) -> None:
        """In the order in which they asked; each sees what the one before has made of it."""
        await began(world, ticks=3)
        for number in range(3):
            await world.open(f"before r {number}")
        for number in range(3):
            assert [place for place in world.flow.gate.waiting if place.startswith("in")] == [
                f"in r {number}"
            ]
            await world.open(f"in r {number}")
        assert [world.flow.saw[number] for number in range(3)] == [[0], [1], [2]]
        assert value(world, "count") == 3

    async def test_the_next_block_does_not_wait_for_the_commit(self, world: World) -> None:
        """It sees what is decided, and is never committed without it."""
        await began(world, ticks=2)
        await world.open("before r 0", "before r 1")
        world.hold = True
        await world.open("in r 0")
        assert "in r 1" in world.flow.gate.waiting
        await world.open("in r 1")
        assert (world.flow.saw[1], world.flow.left) == ([1], [])

    async def test_two_runs_do_not_wait_for_each_other(self, world: World) -> None:
        """Each has blocks of its own."""
        await began(world)
        await began(world, "s")
        await world.open("before r 0", "before s 0")
        assert {"in r 0", "in s 0"} <= set(world.flow.gate.waiting)

    async def test_a_writer_inside_the_block_is_refused(self, world: World) -> None:
        """It would be undone by the block, or wait for it for ever."""
        await began(world, ticks=0, wild=["nested"])
        (error,) = world.flow.errors
        assert isinstance(error, NestedEdit)
        assert isinstance(error, RuntimeError)
        assert world.kept(state.CONTEXT) == []

    async def test_what_other_steps_set_meanwhile_stays(self, world: World) -> None:
        """A block takes effect with what it has changed, and nothing else."""
        await began(world)
        await world.open("before r 0")
        world.send(StartEvent(wild=["set_names"]), "r", topic=TOPICS.inbox)
        await world.pump()
        assert value(world, "names") == ["set meanwhile"]
        await world.open("in r 0")
        assert (value(world, "names"), value(world, "count")) == (["set meanwhile"], 1)

    async def test_one_that_waits_can_be_stopped(self, world: World) -> None:
        """It leaves the line, and the next one gets its turn."""
        await began(world, ticks=3)
        await world.open("before r 0", "before r 1", "before r 2")
        ticks = [one for one in world.task.attempts if one.work.envelope.type == "Tick"]
        waiting = next(one for one in ticks if one.work.event.get("number") == 1)
        assert waiting.task is not None
        waiting.task.cancel()
        await turns()
        world.flow.gate.open("in r 0")
        await turns()
        assert "in r 2" in world.flow.gate.waiting


class TestOnce:
    async def test_a_repeated_attempt_applies_no_edit_again(self, world: World) -> None:
        """Its block sees what it saw the first time; others have counted on since."""
        await began(world, ticks=2)
        await world.open("before r 0")
        await world.open("in r 0")
        await world.open("before r 1")
        await world.open("in r 1")
        await world.open("after r 1")
        await world.restart()
        await world.open("before r 0")
        await world.open("in r 0")
        assert world.flow.saw[0] == [0, 0]
        assert value(world, "count") == 2
        await world.open("after r 0")
        assert value(world, "count") == 2
        assert world.kept(state.EDIT) == []

    async def test_an_edit_that_was_not_committed_is_made_again(self, world: World) -> None:
        """It was nowhere to be seen."""
        await began(world)
        await world.open("before r 0")
        world.hold = True
        await world.open("in r 0")
        world.hold = False
        await world.restart()
        await world.open("before r 0")
        await world.open("in r 0")
        assert world.flow.left == [0]
        assert value(world, "count") == 1

    async def test_after_a_resume_it_is_not_made_again(self, world: World) -> None:
        """The failed step runs again for its event: the edit counts, whatever came after it."""
        world.flow.fails = {0}
        await began(world)
        for place in ("before", "in", "after"):
            await world.open(f"{place} r 0")
        assert isinstance(world.end("r"), Failed)
        world.flow.fails = set()
        world.happen(Resumed(), "r", epoch=1)
        await world.pump()
        for place in ("before", "in", "after"):
            await world.open(f"{place} r 0")
        assert world.flow.saw[0] == [0, 0]
        assert value(world, "count") == 1
        assert world.kept(state.EDIT) == []


class TestEnds:
    async def test_an_ended_run_is_not_changed_by_a_block(self, world: World) -> None:
        """Whether the block is open, waits for its turn, or for its commit."""
        await began(world, ticks=3)
        await world.open("before r 0", "before r 1")
        world.hold = True
        await world.open("in r 0")
        world.happen(Cancelled(), "r")
        world.deliver(TOPICS.runs, 1_000)
        await turns()
        world.hold = False
        world.log.decide()
        await turns()
        assert world.flow.left == []
        assert len(world.task.attempts) == 0
        assert value(world, "count") == 1
        assert world.lost == []

    async def test_a_completed_run_leaves_nothing(self, world: World) -> None:
        """Its notes go with its context."""
        await began(world, ticks=8)
        await world.open("before r 0")
        await world.open("in r 0")
        await world.open("before r 7")
        await world.open("in r 7")
        await world.open("after r 7")
        end = world.end("r")
        assert isinstance(end, Completed)
        assert from_json(end.event)["result"] == 2
        assert world.kept(state.CONTEXT) + world.kept(state.EDIT) == []

    async def test_a_block_that_ends_after_its_step_changes_nothing(self, world: World) -> None:
        """The step has its result already, and its notes are gone."""
        await began(world, ticks=0, wild=["late"])
        world.flow.gate.open("stray")
        stray = world.flow.stray
        assert stray is not None
        with pytest.raises(EditTooLate, match="step wild had ended"):
            await stray
        assert world.kept(state.CONTEXT) + world.kept(state.EDIT) == []

    async def test_a_step_that_does_not_let_itself_be_stopped_changes_nothing(
        self, world: World
    ) -> None:
        """Its run has ended, and its blocks are refused: the open one, and every later one."""
        await began(world, ticks=0, wild=["stubborn"])
        world.happen(Cancelled(), "r")
        await world.pump()
        assert [place for place in world.flow.gate.entered if " was " in place] == [
            "stubborn was cancelled",
            "stubborn was refused",
            "later was refused",
        ]
        assert world.kept(state.CONTEXT) + world.kept(state.EDIT) == []

    async def test_a_lost_task_ends_its_blocks(self, world: World) -> None:
        """What waits for its commit is cancelled with its step."""
        await began(world)
        await world.open("before r 0")
        world.hold = True
        await world.open("in r 0")
        world.log.lose()
        await turns()
        assert len(world.lost) == 1
        assert world.flow.left == []


class TestLimits:
    async def test_a_value_that_is_too_large_is_named(self, world: World) -> None:
        """The block raises at its end, and nothing is changed."""
        await began(world, ticks=0, wild=["large"])
        (error,) = world.flow.errors
        assert isinstance(error, ContextStateError)
        assert "the value at 'names' has 1,000,004 bytes" in str(error)
        assert world.kept(state.CONTEXT) == []

    async def test_what_the_broker_refuses_fails_its_step(self, world: World) -> None:
        """And no other: the rest of the commit is committed."""
        await began(world)
        await began(world, "good")
        await world.open("before r 0", "before good 0")
        refuse(world, lambda each: each.key.startswith(state.edits_prefix("r")))
        await world.open("in r 0", "in good 0")
        end = world.end("r")
        assert isinstance(end, Failed)
        assert end.failure.type == "ResultRefused"
        assert (value(world, "count"), value(world, "count", "good")) == (None, 1)
        assert world.flow.left == [0]
