"""Keys of `ctx.memo` and ids of waits that a release renames while runs wait."""

from collections.abc import AsyncIterator

import pytest
from task_world import TOPICS, Clock, World, turns

from fleet import Context, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent, step
from fleet.engine import commits, task
from fleet.records import state
from fleet.records.lifecycle import Completed
from fleet.workflow.definition import Definition
from fleet.workflow.recorded.memo import BadMemo
from fleet.workflow.waiting import BadWait


class Said(HumanResponseEvent):
    text: str = ""


class Question(InputRequiredEvent):
    """What a person is asked."""


class AskFlow(Definition):
    """One step, whose names the test renames."""

    def __init__(self) -> None:
        self.paid = 0
        self.names: tuple[str, str | None] = ("old", None)
        self.errors: list[BaseException] = []

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        name, formerly = self.names

        def pay() -> int:
            self.paid += 1
            return self.paid

        paid = await ctx.memo(name, pay, formerly=formerly)
        answer = await ctx.wait_for_event(
            Said, waiter_event=Question(), waiter_id=name, timeout=None, formerly=formerly
        )
        return StopEvent(result=[paid, answer.text])

    @step
    async def wrong(self, ctx: Context, ev: StartEvent) -> None:
        for call in (
            ctx.memo("k", lambda: 1, formerly=""),
            ctx.wait_for_event(Said, formerly=""),
        ):
            try:
                await call
            except (BadMemo, BadWait) as error:
                self.errors.append(error)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(commits, "GATHER_SECONDS", 0)
    monkeypatch.setattr(commits, "LATER_SECONDS", 0)
    clock = Clock()
    monkeypatch.setattr(task, "BrokerClock", lambda *_: clock)
    made = World(clock, AskFlow())
    await made.begin()
    made.start("r")
    await settled(made)
    yield made
    for each in made.made:
        await each.close()


async def settled(world: World) -> None:
    for _ in range(4):
        await turns()
        await world.pump()


async def answer(world: World) -> None:
    world.send(Said(text="yes"), "r", TOPICS.inbox, event_id="a")
    await settled(world)


async def test_the_former_names_are_followed(world: World) -> None:
    """No call is paid again, no question is asked again, and the answer is not lost."""
    world.flow.names = ("new", "old")
    await world.restart()
    asked = len(world.topics[TOPICS.stream])
    await answer(world)
    assert (world.ended, world.flow.paid) == ([Completed.kind], 1)
    assert len(world.topics[TOPICS.stream]) == asked
    # Nor is anything left under either name.
    assert world.kept() == [state.end_key("r")]


async def test_without_them_a_new_call_and_a_new_wait_begin(world: World) -> None:
    """The answer to one question is not that to another."""
    world.flow.names = ("new", None)
    await world.restart()
    await answer(world)
    assert (world.ended, world.flow.paid) == ([], 2)
    assert len(world.kept(state.WAITING)) == 1
    world.send(Said(text="again"), "r", TOPICS.inbox, event_id="b")
    await settled(world)
    assert world.ended == [Completed.kind]


async def test_a_run_of_the_new_version_has_the_new_names(world: World) -> None:
    world.flow.names = ("new", "old")
    await answer(world)
    world.start("q")
    await settled(world)
    assert [key for key in world.kept(state.CALL) if b"\0old" in key or b" old" in key] == []
    assert [key for key in world.kept(state.CALL) if key.endswith(b"memo new")] != []


async def test_what_is_no_name_is_refused(world: World) -> None:
    assert [type(error) for error in world.flow.errors] == [BadMemo, BadWait]
