"""A step that ends its process is counted and set aside; its neighbours go on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from task_world import TOPICS, Clock, Gate, World, turns

from fleet import Context, StartEvent, StepFailedEvent, StopEvent, catch_error, step
from fleet.engine import commits, task
from fleet.engine.admission.suspects import Quarantine
from fleet.records import state
from fleet.records.lifecycle import Completed, Failed
from fleet.workflow.definition import Definition

LIMIT = 3


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A task that counts; its process can die."""
    monkeypatch.setattr(commits, "GATHER_SECONDS", 0)
    monkeypatch.setattr(commits, "LATER_SECONDS", 0)
    clock = Clock()
    monkeypatch.setattr(task, "BrokerClock", lambda *_: clock)
    made = World(clock)
    await made.crash()
    await _another_process(made)
    yield made
    for each in made.made:
        await each.close()


async def _another_process(world: World, limit: int = LIMIT) -> None:
    """End the process without a word, and begin another."""
    world.clock.ms += 1_000
    world.step_group = replace(world.step_group, quarantine=Quarantine(limit))
    await world.restart()
    await settled(world)


async def settled(world: World) -> None:
    """Let commits and what waits for them happen."""
    for _ in range(5):
        await turns()
        await world.pump()


def begun(world: World, run_id: str) -> int:
    found: int = world.flow.gate.entered.count(f"generate {run_id}")
    return found


async def died(world: World, times: int) -> list[int]:
    """Let the process die again and again; return how often `bad` was begun by each."""
    found = []
    for _ in range(times):
        await _another_process(world)
        found.append(begun(world, "bad"))
    return found


async def test_a_step_that_ends_its_process_is_set_aside(world: World) -> None:
    """Once uncounted, then as often as the limit says; then its run fails, and can be resumed."""
    world.start("bad", topic="x")
    await settled(world)
    assert begun(world, "bad") == 1

    assert await died(world, 5) == [1, 1, 1, 0, 0]

    end = world.end("bad")
    assert isinstance(end, Failed)
    assert (end.step, end.failure.type, end.attempt) == ("generate", "CrashesWorker", LIMIT)
    (letter,) = world.letters()
    assert letter.reason == "crashes_worker"
    assert world.kept(state.SUSPECT) == []
    assert world.kept(state.AWAITING_RESUME) == [state.awaiting_key("bad", "start bad", "generate")]


class Handled(Definition):
    """Its step ends its process, and a handler is for that."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.got: list[StepFailedEvent] = []

    @step
    async def generate(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await self.gate.at(f"generate {ctx.run_id}")
        return StopEvent()

    @catch_error
    async def rescue(self, ev: StepFailedEvent) -> StopEvent:
        self.got.append(ev)
        return StopEvent(result="rescued")


async def test_a_handler_gets_the_failure_of_a_step_that_ends_its_process(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the number of deaths; the step is not begun again."""
    monkeypatch.setattr(task, "BrokerClock", lambda *_: world.clock)
    flow = Handled()
    handled = World(world.clock, flow)
    await handled.crash()
    await _another_process(handled)
    handled.start("bad", topic="x")
    await settled(handled)
    await died(handled, 4)

    assert isinstance(handled.end("bad"), Completed)
    (got,) = flow.got
    assert (type(got.exception).__name__, got.attempts) == ("CrashesWorker", LIMIT)
    assert handled.letters() == []
    assert handled.kept(state.SUSPECT) == []
    for each in handled.made:
        await each.close()


async def test_neighbours_complete_and_are_begun_a_few_times(world: World) -> None:
    """They have others beside them, and only the last chance is alone."""
    names = [f"good{number}" for number in range(5)]
    for name in ("bad", *names):
        world.start(name, topic="x")
    await settled(world)
    for _ in range(LIMIT):
        await _another_process(world)
        if begun(world, "bad"):
            continue
        for name in names:
            if f"generate {name}" in world.flow.gate.waiting:
                await world.open(f"generate {name}")
    await _another_process(world)
    for name in names:
        while world.end(name) is None:
            for place in list(world.flow.gate.waiting):
                world.flow.gate.open(place)
            await settled(world)
        assert isinstance(world.end(name), Completed)
    assert [each.reason for each in world.letters()] == ["crashes_worker"]


async def test_the_last_time_a_suspect_runs_alone(world: World) -> None:
    """Then a death says which of them it was."""
    for name in ("bad", "good"):
        world.start(name, topic="x")
    await settled(world)
    await died(world, LIMIT - 1)
    assert begun(world, "bad") + begun(world, "good") == 2
    await _another_process(world)
    assert begun(world, "bad") + begun(world, "good") == 1


async def test_a_count_is_committed_before_its_step_begins(world: World) -> None:
    """Else a step that ends its process at once would never be counted."""
    world.start("bad", topic="x")
    await settled(world)
    world.hold = True
    await _another_process(world)
    assert begun(world, "bad") == 0
    assert world.log.pending is not None
    world.hold = False
    world.log.decide()
    await settled(world)
    assert begun(world, "bad") == 1
    (key,) = world.kept(state.SUSPECT)
    assert world.state[key] == b"0 1"


async def test_the_mark_is_committed_before_the_first_step_begins(world: World) -> None:
    """A worker that dies at once leaves it, too."""
    world.hold = True
    await _another_process(world)
    world.start("r", topic="x")
    await world.pump()
    assert begun(world, "r") == 0
    world.hold = False
    assert world.log.pending is not None
    mark = world.log.pending.changes[state.RUNNING] or b""
    assert mark.startswith(world.step_group.quarantine.process)
    world.log.decide()
    await settled(world)
    assert begun(world, "r") == 1


async def _drained(world: World) -> None:
    await world.task.drain(0)


async def _revoked(world: World) -> None:
    await world.task.settle(0)


@pytest.mark.parametrize("ends", [_drained, _revoked])
async def test_who_stops_as_it_should_is_not_counted(
    world: World, ends: Callable[[World], object]
) -> None:
    """Rolling restarts condemn nobody, however many there are."""
    world.start("slow", topic="x")
    await settled(world)
    for _ in range(3 * LIMIT):
        await ends(world)  # type: ignore[misc]
        await _another_process(world)
        assert begun(world, "slow") == 1
        assert world.kept(state.SUSPECT) == []


async def test_a_task_that_is_opened_again_by_its_process_is_no_death(world: World) -> None:
    """Nobody died: its log was lost. What was suspect still is, and is not condemned."""
    world.start("slow", topic="x")
    await settled(world)
    await _another_process(world)
    assert len(world.kept(state.SUSPECT)) == 1
    for _ in range(3 * LIMIT):
        await world.restart()
        await settled(world)
        assert begun(world, "slow") == 1
        assert len(world.kept(state.SUSPECT)) == 1


async def test_a_task_that_is_settled_before_it_begins_keeps_the_mark(world: World) -> None:
    """A rebalance may come while a task is loaded: the process that died still has to count."""
    world.start("bad", topic="x")
    await settled(world)
    world.step_group = replace(world.step_group, quarantine=Quarantine(LIMIT))
    loaded, _, _ = world._new_task()
    mark = loaded.ledger.get(state.RUNNING)

    await loaded.settle(0)

    assert mark is not None
    assert loaded.ledger.get(state.RUNNING) == mark


async def test_what_comes_later_is_not_counted(world: World) -> None:
    """Only what may have been in flight when the process died waits for a commit."""
    await _another_process(world)
    world.clock.ms += 1_000
    world.start("new", topic="x")
    await world.pump()
    assert begun(world, "new") == 1
    assert world.kept(state.SUSPECT) == []


async def test_counts_go_with_their_runs(world: World) -> None:
    """A run that ends meanwhile leaves nothing."""
    world.start("bad", topic="x")
    await settled(world)
    await _another_process(world)
    assert len(world.kept(state.SUSPECT)) == 1
    world.happen(Failed(step="", event_id="e", failure=_FAILURE), "bad")
    await settled(world)
    assert world.kept(state.SUSPECT) == []


async def test_without_a_limit_nothing_is_counted(world: World) -> None:
    """FLEET_CRASH_LIMIT=0."""
    world.start("bad", topic="x")
    for _ in range(2 * LIMIT):
        await _another_process(world, limit=0)
        assert begun(world, "bad") == 1
    assert world.topics[TOPICS.dead] == []


_FAILURE = {"module": "builtins", "type": "ValueError", "message": ""}


async def test_a_step_that_waits_for_a_mark_under_way_begins(world: World) -> None:
    """Nothing else is to be committed then, and it must not wait for ever."""
    await world.task.drain(0)
    world.hold = True
    await _another_process(world)
    assert world.log.pending is not None
    world.start("r", topic="x")
    await world.pump()
    world.hold = False
    world.log.decide()
    await settled(world)
    assert begun(world, "r") == 1


@pytest.mark.parametrize("ends", [_drained, _revoked])
async def test_an_owner_that_comes_in_order_after_a_death_counts_it(
    world: World, ends: Callable[[World], object]
) -> None:
    """The owner before it may have stopped before the step that ended the process began."""
    world.start("bad", topic="x")
    await settled(world)
    for _ in range(3):
        await _another_process(world)
        await ends(world)  # type: ignore[misc]
    await _another_process(world)
    assert [world.state[key] for key in world.kept(state.SUSPECT)] == [b"0 1"]
    assert await died(world, LIMIT) == [1, 1, 0]
    assert isinstance(world.end("bad"), Failed)


async def test_an_owner_that_stops_before_its_mark_is_in_the_log_tells_of_the_death(
    world: World,
) -> None:
    """It does not know yet until when something may have been in flight."""
    world.start("bad", topic="x")
    await settled(world)
    world.hold = True
    await _another_process(world)
    ending = asyncio.create_task(world.task.drain(0))
    await turns()
    world.hold = False
    world.log.decide()
    await ending
    await _another_process(world)
    assert [world.state[key] for key in world.kept(state.SUSPECT)] == [b"0 1"]


async def test_a_clock_that_is_set_back_hides_nothing_that_was_in_flight(world: World) -> None:
    """Until when it was appended is known with the mark, and no later commit makes it earlier."""
    world.start("bad", topic="x")
    await settled(world)
    world.clock.ms += 1_000
    world.step_group = replace(world.step_group, quarantine=Quarantine(LIMIT))
    await world.crash()
    await world.begin()
    world.clock.ms -= 10_000
    await world.task.confirm()
    await settled(world)
    assert begun(world, "bad") == 1
    assert len(world.kept(state.SUSPECT)) == 1


async def test_no_step_runs_any_more_when_a_drained_task_removes_its_mark(world: World) -> None:
    """One that ended its process then would not be counted."""
    world.start("slow", topic="x")
    await settled(world)
    world.hold = True
    ending = asyncio.create_task(world.task.drain(0))
    await settled(world)
    assert world.log.pending is not None
    assert state.RUNNING in world.log.pending.changes
    assert world.flow.gate.waiting == {}
    world.hold = False
    world.log.decide()
    await ending


async def _two_last_chances(world: World) -> str:
    """Let two steps have their last chance; return the run whose step has it."""
    for name in ("one", "other"):
        world.start(name, topic="x")
    await settled(world)
    await died(world, LIMIT - 1)
    await _another_process(world)
    place: str
    (place,) = world.flow.gate.waiting
    return place.removeprefix("generate ")


async def test_the_next_last_chance_waits_until_the_result_of_this_one_is_in_the_log(
    world: World,
) -> None:
    """Else a death beside the commit would condemn a step that has ended."""
    first = await _two_last_chances(world)
    second = {"one": "other", "other": "one"}[first]
    world.hold = True
    await world.open(f"generate {first}")
    await settled(world)
    assert world.log.pending is not None
    assert begun(world, second) == 0

    world.hold = False
    world.log.decide()
    await settled(world)
    assert begun(world, second) == 1


async def test_a_last_chance_that_is_stopped_with_its_run_lets_others(world: World) -> None:
    """Nothing is to be committed of it."""
    first = await _two_last_chances(world)
    world.happen(Failed(step="", event_id="e", failure=_FAILURE), first)
    await settled(world)
    assert begun(world, {"one": "other", "other": "one"}[first]) == 1


async def test_a_last_chance_whose_log_is_lost_is_the_last_until_its_task_is_opened_again(
    world: World,
) -> None:
    """The log says that it runs; a death in another partition would condemn it."""
    await _two_last_chances(world)
    places = world.step_group.quarantine.places
    world.hold = True
    world.task.commits.now()
    world.start("more", topic="x")
    await settled(world)
    world.log.lose()
    await settled(world)
    another = asyncio.create_task(places.be_alone())
    await settled(world)
    assert not another.done()
    await world.crash()
    # Its load fails once: another task is made then, and the first is not begun.
    world.task, world.log, world.store = world._new_task()
    await world.begin()
    assert not another.done()
    world.hold = False
    world.log.decide()
    await settled(world)
    assert another.done()
    places.let_others()


async def test_a_last_chance_in_a_partition_that_goes_elsewhere_lets_others(world: World) -> None:
    """Its next owner counts it by what is in the log, whatever happens here."""
    await _two_last_chances(world)
    quarantine = world.step_group.quarantine
    await world.task.close()
    quarantine.gone(world.task.partition)
    async with asyncio.timeout(1):
        await quarantine.places.be_alone()
