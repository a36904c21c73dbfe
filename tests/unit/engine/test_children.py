"""Runs that steps await, in a task: each is started once, its end is told once, none is left."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from native import eventually
from refusing import refuse
from task_world import TOPICS, Clock, Gate, World, parsed, turns

from fleet import Context, StartEvent, StopEvent, step
from fleet.engine import commits, task
from fleet.engine.timers import waking
from fleet.engine.transitions.waiting import reasons
from fleet.records import state
from fleet.records.lifecycle import SUSPENDED, Cancelled, Completed, Failed, Resumed, TimedOut
from fleet.records.log import Delivered
from fleet.records.nested.caller import ENDED, MOST_NESTED, Caller
from fleet.workflow.definition import Definition
from fleet.workflow.errors import WorkflowCancelledByUser, WorkflowTimeoutError

START, PARENT = TOPICS.event("StartEvent"), "parent"


class NestedFlow(Definition, workflow="joke"):
    """A step runs its own workflow, as often as the start event says; a leaf gives its number."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.attempts: list[str] = []
        #: Numbers of leaves that fail.
        self.bad: set[int] = set()
        #: What was caught.
        self.caught: list[BaseException] = []
        self.fails = False

    @step
    async def go(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
        leaf = ev.get("leaf")
        if leaf is not None:
            await self.gate.at(f"leaf {leaf}")
            if leaf in self.bad:
                raise LookupError(f"leaf {leaf}")
            return StopEvent(result=leaf)
        self.attempts.append(ctx.run_id)
        return StopEvent(result=await self._given(ctx, ev))

    async def _given(self, ctx: Context, ev: StartEvent) -> Any:
        if (depth := ev.get("depth")) is not None:
            return await ctx.run_workflow(NestedFlow, depth=depth + 1, timeout=None)
        leaves = [
            ctx.run_workflow(NestedFlow, leaf=leaf, timeout=ev.get("seconds"))
            for leaf in ev.get("leaves", [1])
        ]
        if ev.get("first"):
            return await self._first(leaves)
        if ev.get("sleeps"):
            return (await asyncio.gather(ctx.sleep(60), *leaves))[1]
        if ev.get("memos"):
            return await self._beside_memos(ctx, leaves)
        if ev.get("catches"):
            return await self._caught(ctx, leaves)
        found = await asyncio.gather(*leaves)
        if self.fails:
            await self.gate.at("failing")
            raise ValueError("after its children")
        return found

    async def _beside_memos(self, ctx: Context, leaves: list[Any]) -> Any:
        async def slow() -> str:
            self.attempts.append("paid")
            await self.gate.at("memo")
            return "memo"

        async def inside() -> Any:
            return await leaves[0]

        return await asyncio.gather(ctx.memo("slow", slow), ctx.memo("child", inside))

    async def _first(self, leaves: list[Any]) -> Any:
        tasks = [asyncio.ensure_future(leaf) for leaf in leaves]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()

    async def _caught(self, ctx: Context, leaves: list[Any]) -> Any:
        try:
            return await leaves[0]
        except Exception as error:  # noqa: BLE001 - whatever it is
            self.caught.append(error)
            await ctx.sleep(1)
            return type(error).__name__


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(commits, "GATHER_SECONDS", 0)
    monkeypatch.setattr(commits, "LATER_SECONDS", 0)
    monkeypatch.setattr(waking, "BUSY_SECONDS", 0)
    monkeypatch.setattr(waking, "LOOK_SECONDS", 0.001)
    clock = Clock()
    monkeypatch.setattr(task, "BrokerClock", lambda *_: clock)
    world = World(clock, NestedFlow())
    await world.begin()
    yield world
    for one in world.made:
        await one.close()


def starts(world: World) -> list[Delivered]:
    """Return the start events that steps have sent."""
    return [record for record in world.topics[START] if parsed(record).caller]


def child_ids(world: World) -> list[str]:
    return [parsed(record).run_id for record in starts(world)]


def told(world: World) -> list[Delivered]:
    """Return the records that tell of the ends of children."""
    return [record for record in world.topics[TOPICS.inbox] if parsed(record).type == ENDED]


def result(world: World, run_id: str = PARENT) -> Any:
    end = world.end(run_id)
    return end.event if isinstance(end, Completed) else end


async def test_a_step_gets_the_result_of_a_run_and_holds_nothing_meanwhile(world: World) -> None:
    world.start(PARENT)
    await world.pump()
    assert world.flow.gate.entered == ["leaf 1"]
    assert world.task.attempts.active_steps(PARENT) == set()
    assert reasons.of_run(world.store, PARENT) == (f"go: awaits joke {child_ids(world)[0]}",)
    await world.open("leaf 1")
    assert result(world) == '{"result":[1]}'
    assert world.flow.attempts == [PARENT, PARENT]
    assert len(told(world)) == 1
    assert world.kept(state.CALL) == world.kept(state.WAITING) == world.kept(state.SUSPENDED) == []


async def test_history_and_lifecycle_name_the_child_and_its_parent(world: World) -> None:
    world.start(PARENT)
    await world.pump()
    await world.open("leaf 1")
    (child,) = child_ids(world)
    suspended = [one for one in world.history() if one.outcome == SUSPENDED]
    assert [one.children for one in suspended] == [(f"joke {child}",)]
    begun = world.happenings(child)[0]
    assert (begun.parent_workflow, begun.parent_run) == ("joke", PARENT)  # type: ignore[attr-defined]


async def test_several_runs_are_started_before_one_is_awaited(world: World) -> None:
    world.start(PARENT, leaves=[1, 2, 3])
    await world.pump()
    assert sorted(world.flow.gate.entered) == ["leaf 1", "leaf 2", "leaf 3"]
    await world.open("leaf 3")
    await world.open("leaf 1")
    assert world.end(PARENT) is None
    await world.open("leaf 2")
    assert result(world) == '{"result":[1,2,3]}'
    assert len(starts(world)) == 3


async def test_a_start_and_its_note_are_one_commit(world: World) -> None:
    world.start(PARENT)
    await world.pump()
    commit = next(one for one in world.transactions if any(r.topic == START for r in one.records))
    assert [key for key in commit.changes if key.startswith(state.CALL)]


async def test_a_worker_that_dies_before_the_start_is_committed_starts_one_run(
    world: World,
) -> None:
    world.start(PARENT)
    world.hold = True
    world.deliver(START)
    await turns()
    assert world.log.pending is not None
    world.hold = False
    await world.restart()
    assert len(starts(world)) == 1
    await world.open("leaf 1")
    assert result(world) == '{"result":[1]}'


@pytest.mark.parametrize("commits_before", range(1, 6))
async def test_a_worker_that_dies_at_any_commit_makes_no_second_run(
    commits_before: int, world: World
) -> None:
    world.start(PARENT)
    world.hold = True
    for _ in range(commits_before):
        world.deliver(START, 10)
        await turns()
        if world.log.pending is not None:
            world.log.decide()
        await turns()
    world.hold = False
    await world.restart()
    await world.open("leaf 1")
    assert result(world) == '{"result":[1]}'
    assert len(starts(world)) == 1
    assert world.kept(state.CALL) == []


async def test_an_end_that_comes_before_its_step_waits_wakes_it_at_once(world: World) -> None:
    world.start(PARENT)
    world.deliver(START)
    await turns()
    world.hold = True
    world.deliver(START)
    await turns()
    world.hold = False
    world.log.decide() if world.log.pending else None
    await world.pump()
    await world.open("leaf 1")
    assert result(world) == '{"result":[1]}'


async def test_an_end_that_is_told_twice_counts_once(world: World) -> None:
    world.start(PARENT, leaves=[1, 2])
    await world.pump()
    await world.open("leaf 1")
    (record,) = told(world)
    world.raw(TOPICS.inbox, record.value or b"", record.headers)
    await world.pump()
    assert world.answers_dropped == [ENDED]
    await world.open("leaf 2")
    assert result(world) == '{"result":[1,2]}'


async def test_an_attempt_waits_for_what_it_pays_for_before_it_is_suspended(world: World) -> None:
    world.start(PARENT, memos=True)
    await world.pump()
    await world.open("leaf 1")
    await world.open("memo")
    assert result(world) == '{"result":["memo",1]}'
    assert world.flow.attempts.count("paid") == 1
    assert world.flow.attempts.count(PARENT) == 2


async def test_the_error_of_a_run_is_raised_in_the_step(world: World) -> None:
    world.flow.bad = {1}
    world.start(PARENT)
    await world.pump()
    await world.open("leaf 1")
    end = world.end(PARENT)
    assert isinstance(end, Failed)
    assert (end.step, end.failure.type, end.failure.message) == ("go", "LookupError", "leaf 1")


async def test_an_error_that_the_step_takes_stays_over_its_next_suspension(world: World) -> None:
    world.flow.bad = {1}
    world.start(PARENT, catches=True)
    await world.pump()
    await world.open("leaf 1")
    world.clock.ms += 2_000
    await world.restart()
    assert result(world) == '{"result":"LookupError"}'
    assert [type(error) for error in world.flow.caught] == [LookupError, LookupError]
    assert len(starts(world)) == 1


async def test_a_cancelled_run_raises_its_cancellation(world: World) -> None:
    world.start(PARENT, catches=True)
    await world.pump()
    world.happen(Cancelled(reason="no need"), child_ids(world)[0])
    await world.pump()
    assert isinstance(world.flow.caught[0], WorkflowCancelledByUser)


async def test_a_run_that_is_cancelled_before_it_begins_is_told_as_well(world: World) -> None:
    world.start(PARENT, catches=True)
    world.deliver(START)
    await turns()
    world.happen(Cancelled(), child_ids(world)[0])
    world.deliver(TOPICS.runs, 10)
    await world.pump()
    assert isinstance(world.flow.caught[0], WorkflowCancelledByUser)


async def test_a_run_that_times_out_raises_that(world: World) -> None:
    world.start(PARENT, catches=True, seconds=3.0)
    await world.pump()
    world.happen(TimedOut(timeout_seconds=3), child_ids(world)[0])
    await world.pump()
    assert isinstance(world.flow.caught[0], WorkflowTimeoutError)


async def test_a_start_that_cannot_be_read_is_told(world: World) -> None:
    world.start(PARENT, catches=True)
    world.deliver(START)
    await turns()
    (record,) = starts(world)
    world.topics[START][-1] = record._replace(value=b"no JSON")
    await world.pump()
    assert len(world.flow.caught) == 1
    assert "StartEvent" in str(world.flow.caught[0])


@pytest.mark.parametrize(
    "ending", [Cancelled(reason="enough"), TimedOut(timeout_seconds=1)], ids=lambda one: one.kind
)
async def test_the_end_of_a_run_ends_what_it_awaits(ending: Any, world: World) -> None:
    world.start(PARENT, leaves=[1, 2])
    await world.pump()
    await world.open("leaf 1")
    world.happen(ending, PARENT)
    await world.pump()
    done, cancelled = child_ids(world)
    assert isinstance(world.end(done), Completed)
    assert world.end(cancelled) == Cancelled(reason=f"its parent {PARENT} has ended: {ending.kind}")
    assert world.flow.gate.waiting == {}
    await world.restart()
    assert sum(isinstance(one, Cancelled) for one in world.happenings(cancelled)) == 1


async def test_a_step_that_ends_without_a_run_cancels_it(world: World) -> None:
    world.start(PARENT, leaves=[1, 2], first=True)
    await world.pump()
    await world.open("leaf 2")
    assert result(world) == '{"result":2}'
    assert isinstance(world.end(child_ids(world)[0]), Cancelled)
    assert world.flow.gate.waiting == {}
    assert world.kept(state.CALL) == []


async def test_a_resumed_run_keeps_what_its_children_gave_and_starts_the_others_again(
    world: World,
) -> None:
    world.start(PARENT, leaves=[1, 2])
    await world.pump()
    await world.open("leaf 1")
    world.happen(Cancelled(), PARENT)
    await world.pump()
    world.happen(Resumed(), PARENT, epoch=1)
    await world.pump()
    assert world.flow.gate.entered == ["leaf 1", "leaf 2", "leaf 2"]
    await world.open("leaf 2")
    assert [one.kind for one in world.happenings(PARENT)][-1] == Completed.kind
    assert len(set(child_ids(world))) == 3


async def test_a_step_that_makes_its_calls_again_starts_its_runs_again(world: World) -> None:
    world.flow.fails = True
    world.start(PARENT, event_id="begin")
    await world.pump()
    await world.open("leaf 1")
    await world.open("failing")
    assert isinstance(world.end(PARENT), Failed)
    world.flow.fails = False
    world.happen(Resumed(fresh=(("begin", "go"),)), PARENT, epoch=1)
    await world.pump()
    await world.open("leaf 1")
    assert [one.kind for one in world.happenings(PARENT)][-1] == Completed.kind
    assert len(set(child_ids(world))) == 2


async def test_a_result_that_comes_after_the_end_of_its_parent_is_kept_for_the_resume(
    world: World,
) -> None:
    world.start(PARENT)
    await world.pump()
    world.flow.gate.open("leaf 1")
    await turns()
    # The child has its result, and the parent its end before it hears of that.
    world.happen(Cancelled(), PARENT)
    world.deliver(TOPICS.runs, 10)
    await turns()
    await world.pump()
    world.happen(Resumed(), PARENT, epoch=1)
    await world.pump()
    assert world.flow.gate.entered == ["leaf 1"]
    assert [one.kind for one in world.happenings(PARENT)][-1] == Completed.kind


async def test_a_step_that_failed_with_the_error_of_a_run_starts_another_when_it_is_resumed(
    world: World,
) -> None:
    world.flow.bad = {1}
    world.start(PARENT, leaves=[1, 2])
    await world.pump()
    await world.open("leaf 2")
    await world.open("leaf 1")
    assert isinstance(world.end(PARENT), Failed)
    world.flow.bad = set()
    world.happen(Resumed(), PARENT, epoch=1)
    await world.pump()
    assert world.flow.gate.entered == ["leaf 1", "leaf 2", "leaf 1"]
    await world.open("leaf 1")
    assert [one.kind for one in world.happenings(PARENT)][-1] == Completed.kind


async def test_a_child_has_no_more_time_than_its_parent_has_left(world: World) -> None:
    world.start(PARENT, timeout=10, leaves=[1])
    world.deliver(START)
    await turns()
    (record,) = starts(world)
    assert parsed(record).timeout_seconds == 10.0
    world.start("long", timeout=100, event_id="long", leaves=[2], seconds=30.0)
    world.deliver(START, 10)
    await turns()
    assert parsed(starts(world)[-1]).timeout_seconds == 30.0


async def test_a_recursion_without_an_end_fails(world: World) -> None:
    world.start(PARENT, depth=0)
    await world.pump()
    await turns()
    await world.pump()
    end = world.end(PARENT)
    assert isinstance(end, Failed)
    assert end.failure.type == "NestedTooDeep"
    assert len(starts(world)) == MOST_NESTED


async def test_a_start_that_the_broker_refuses_is_an_error_at_its_line(world: World) -> None:
    refuse(world, lambda record: record.topic == START and bool(record.headers))
    world.start(PARENT, catches=True)
    await world.pump()
    assert [type(error).__name__ for error in world.flow.caught] == ["ResultRefused"]


async def test_an_end_that_the_broker_refuses_is_left_out_and_holds_nothing_up(
    world: World,
) -> None:
    """Such as one for an inbox that this worker may not write to."""
    world.start(PARENT)
    await world.pump()
    refuse(world, lambda record: record.topic == TOPICS.inbox)
    await world.open("leaf 1")
    assert isinstance(world.end(child_ids(world)[0]), Completed)
    assert told(world) == []
    world.start("next", leaves=[2])
    await world.pump()
    assert world.flow.gate.entered == ["leaf 1", "leaf 2"]
    assert world.lost == []


async def test_the_end_of_a_run_does_not_wake_a_step_that_sleeps(world: World) -> None:
    world.start(PARENT, sleeps=True)
    await world.pump()
    await world.open("leaf 1")
    assert len(told(world)) == 1
    assert world.flow.attempts == [PARENT]
    world.clock.ms += 61_000
    world.read_all()

    async def has_ended() -> bool:
        await world.pump()
        return world.end(PARENT) is not None

    await eventually(has_ended, 10)
    assert result(world) == '{"result":1}'
    assert world.flow.attempts == [PARENT, PARENT]


async def test_nothing_of_a_child_is_kept_once_all_have_ended(world: World) -> None:
    for number in range(3):
        world.start(f"{PARENT} {number}", leaves=[1])
    await world.pump()
    await world.open("leaf 1")
    await world.pump()
    assert [key for key in world.kept() if not key.startswith((state.END, state.META))] == []


def test_a_header_that_names_no_step_is_refused() -> None:
    with pytest.raises(ValueError, match="run_id"):
        Caller.read('{"workflow": "a.b"}')
