"""What a replay takes over of a run's state: fan-outs, waits, events in progress, records."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar

import pytest
from exporting import exported
from task_world import TOPICS, Clock, World

from fleet import Context, Event, HumanResponseEvent, StartEvent, StopEvent, Workflow, step
from fleet.engine import commits
from fleet.records.envelope import Envelope
from fleet.records.lifecycle import Cancelled, Failed, TimedOut
from fleet.records.log import Outgoing
from fleet.testing import replay
from fleet.testing.run_state import NotReplayable


class Part(Event):
    number: int


class Whole(Event):
    number: int


class Approval(HumanResponseEvent):
    by: str


class PartsFlow(Workflow, workflow="joke"):
    """It fans out, joins, and asks a person; the second part fails, or waits for the test."""

    #: `fail`, `hang` or empty.
    second: ClassVar[str] = "fail"
    #: What its steps did in this process.
    did: ClassVar[list[str]] = []

    @step
    async def split(self, ev: StartEvent) -> list[Part]:
        self.did.append("split")
        return [Part(number=number) for number in range(3)]

    @step(num_workers=3)
    async def make(self, ev: Part) -> Whole:
        self.did.append(f"make {ev.number}")
        if ev.number == 1 and self.second == "fail":
            raise LookupError(ev.number)
        if ev.number == 1 and self.second == "hang":
            await asyncio.Event().wait()
        return Whole(number=ev.number)

    @step
    async def collect(self, ctx: Context, ev: list[Whole]) -> StopEvent:
        self.did.append("collect")
        answer = await ctx.wait_for_event(Approval)
        return StopEvent(result=[answer.by, *sorted(one.number for one in ev)])


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A task that runs."""
    monkeypatch.setattr(commits, "GATHER_SECONDS", 0)
    monkeypatch.setattr(commits, "LATER_SECONDS", 0)
    monkeypatch.setattr(PartsFlow, "did", [])
    made = World(Clock(), PartsFlow())
    await made.begin()
    yield made
    for each in made.made:
        await each.close()


async def until(world: World, is_so: Callable[[], bool]) -> None:
    """Let the world go on until *is_so*."""
    async with asyncio.timeout(20):
        while not is_so():
            await world.pump()
            await asyncio.sleep(0.01)
    for _ in range(3):
        await world.pump()


async def begin(world: World, second: str) -> None:
    """Start the run, with what its second part does."""
    world.flow.__class__.second = second
    world.start("r")


def ends(world: World) -> list[Any]:
    """Return the terminal records of the run."""
    return [one for one in world.happenings("r") if one.terminal]


async def completed(handler: Any) -> Any:
    """Answer the run; return its result."""
    async with asyncio.timeout(20):
        await handler.send_event(Approval(by="ann"))
        return await handler


async def test_a_fan_out_is_completed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the branch that failed, once it is mended; the others are in the state."""
    monkeypatch.setattr(PartsFlow, "second", "")
    await begin(world, "fail")
    await until(world, lambda: bool(ends(world)) and len(world.history()) == 4)
    run = exported(world)
    with pytest.raises(LookupError, match="1"):
        await replay(run)
    PartsFlow.second = ""
    PartsFlow.did.clear()
    assert await completed(replay(run)) == ["ann", 0, 1, 2]
    assert PartsFlow.did == ["make 1", "collect", "collect"]


async def test_what_was_in_progress_runs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a run that goes on: its events stand in their topics, and a part of them is done."""
    monkeypatch.setattr(PartsFlow, "second", "")
    await begin(world, "hang")
    await until(world, lambda: len(world.history()) == 3)
    run = exported(world)
    assert run.outcome == "running"
    assert [record.open for record in run.events if record.envelope.type == "Part"] == [
        False,
        True,
        False,
    ]
    PartsFlow.second = ""
    PartsFlow.did.clear()
    assert await completed(replay(run)) == ["ann", 0, 1, 2]
    assert PartsFlow.did == ["make 1", "collect", "collect"]


async def test_what_waits_for_a_person_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """And you answer it, as often as you like."""
    monkeypatch.setattr(PartsFlow, "second", "")
    await begin(world, "")
    await until(world, lambda: any(one.outcome == "suspended" for one in world.history()))
    run = exported(world)
    for _ in range(2):
        handler = replay(run)
        assert not handler.is_done()
        assert await completed(handler) == ["ann", 0, 1, 2]


@pytest.mark.parametrize("end", [TimedOut(timeout_seconds=1), Cancelled(reason="no")])
async def test_a_run_that_was_stopped_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, end: Any
) -> None:
    """Without a time limit."""
    monkeypatch.setattr(PartsFlow, "second", "")
    await begin(world, "hang")
    await until(world, lambda: len(world.history()) == 3)
    world.happen(end, "r")
    await until(world, lambda: bool(ends(world)))
    PartsFlow.second = ""
    assert await completed(replay(exported(world))) == ["ann", 0, 1, 2]


async def test_a_record_that_cannot_be_read_fails_again(world: World) -> None:
    """With the reason; no step ran for it."""
    await begin(world, "hang")
    await until(world, lambda: len(world.history()) == 3)
    envelope = Envelope("r", "odd", "Part")
    world.append(Outgoing(TOPICS.event("Part"), b"r", b'{"number":"x"}', envelope.headers()))
    await until(world, lambda: bool(ends(world)))
    (end,) = ends(world)
    assert isinstance(end, Failed)
    with pytest.raises(Exception, match="number") as raised:
        await replay(exported(world))
    assert str(raised.value) == end.failure.message


async def test_records_of_other_clients_are_passed_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anyone may write to a topic."""
    monkeypatch.setattr(PartsFlow, "second", "")
    await begin(world, "fail")
    await until(world, lambda: bool(ends(world)) and len(world.history()) == 4)
    run = exported(world)
    odd = run.events[0].model_copy(update={"headers": [], "value": b"?"})
    several = {name: [odd, *getattr(run, name)] for name in ("events", "lifecycle", "history")}
    with pytest.raises(LookupError, match="1"):
        await replay(run.model_copy(update=several))


class NestedFlow(Workflow, workflow="joke"):
    """It runs itself as a child, which fails, or waits for the test."""

    #: What its steps did in this process.
    did: ClassVar[list[str]] = []

    @step
    async def go(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.did.append(ev.get("leaf", "parent"))
        if ev.get("leaf") == "fails":
            raise LookupError("the child")
        if ev.get("leaf") == "hangs":
            await asyncio.Event().wait()
        leaf = await ctx.run_workflow(NestedFlow, leaf=ev.get("runs"), timeout=None)
        return StopEvent(result=leaf)


class TestNested:
    @pytest.fixture
    async def nested(self, world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
        """A task that runs a parent and its child."""
        monkeypatch.setattr(NestedFlow, "did", [])
        made = World(Clock(), NestedFlow())
        await made.begin()
        yield made
        for one in made.made:
            await one.close()

    async def test_the_failure_of_a_child_is_recorded(self, nested: World) -> None:
        """The child does not run again, whatever it would give now."""
        nested.start("r", runs="fails")
        await until(nested, lambda: bool(ends(nested)))
        NestedFlow.did.clear()
        run = exported(nested)
        for _ in range(2):
            with pytest.raises(LookupError, match="the child"):
                await replay(run)
        assert NestedFlow.did == ["parent", "parent"]

    async def test_a_child_fails_again_by_itself(self, nested: World) -> None:
        """Its parent hears nothing of it."""
        nested.start("r", runs="fails")
        await until(nested, lambda: bool(ends(nested)))
        (child,) = {(one.key or b"").decode() for one in nested.topics[TOPICS.runs]} - {"r"}
        NestedFlow.did.clear()
        with pytest.raises(LookupError, match="the child"):
            await replay(exported(nested, child))
        assert NestedFlow.did == ["fails"]

    async def test_what_awaits_a_child_cannot_be_replayed(self, nested: World) -> None:
        """It would wait for ever; the error says what to do."""
        nested.start("r", runs="hangs")
        await until(nested, lambda: "hangs" in NestedFlow.did)
        with pytest.raises(NotReplayable, match="replay one of those"):
            replay(exported(nested))
