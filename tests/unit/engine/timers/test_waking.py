"""Work that waits for its time: what is in the state, when it is woken, and how much at once."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from task_world import EPOCH_MS, TOPICS, Clock, World, turns
from tenacity import stop_after_attempt, wait_fixed

from fleet import Context, StartEvent, StopEvent, retry_policy, step
from fleet.engine import commits, task
from fleet.engine.ledger import Ledger
from fleet.engine.timers import waking
from fleet.engine.transitions.draft import Draft
from fleet.memory.backend import MemoryStore
from fleet.records import state
from fleet.records.lifecycle import Cancelled, Completed, Failed, Resumed
from fleet.records.state import MemoryState, Overlay
from fleet.workflow.definition import Definition


class Busy(Exception):
    """What the step raises."""


class TimedFlow(Definition):
    """One step fails as often as its start says, another sleeps."""

    def __init__(self) -> None:
        self.attempts: list[tuple[str, int]] = []
        #: Is called as an attempt begins.
        self.before: Callable[[], object] = lambda: None

    @step(retry_policy=retry_policy(wait=wait_fixed(30), stop=stop_after_attempt(3)))
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.attempts.append((ctx.run_id, ctx.attempt))
        self.before()
        await ctx.sleep(ev.get("sleep", 0))
        if ctx.attempt <= ev.get("failures", 0):
            raise Busy(ctx.attempt)
        info = ctx.retry_info()
        told = [info.retry_number, info.elapsed_seconds, repr(info.last_exception)]
        return StopEvent(result=told)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(commits, "LATER_SECONDS", 0)
    monkeypatch.setattr(waking, "BUSY_SECONDS", 0)
    # The test's clock moves when the test says so, and nothing arms a timer for that.
    monkeypatch.setattr(waking, "LOOK_SECONDS", 0.001)
    made = Clock()
    monkeypatch.setattr(task, "BrokerClock", lambda *_: made)
    return made


@pytest.fixture
async def world(clock: Clock) -> AsyncIterator[World]:
    made = World(clock, TimedFlow())
    await made.begin()
    yield made
    for each in made.made:
        await each.close()


async def pass_seconds(world: World, seconds: float) -> None:
    """Let broker time pass, and what is due happen."""
    world.clock.ms += seconds * 1000
    for _ in range(20):
        await asyncio.sleep(0.001)
    await world.pump()


def outcomes(world: World) -> list[tuple[str, int]]:
    return [(record.outcome, record.attempt) for record in world.history()]


def waiting(world: World) -> list[bytes]:
    return world.kept(state.WAITING) + world.kept(state.DUE)


async def test_a_failed_step_waits_in_the_state_and_runs_again(world: World) -> None:
    world.start("r", failures=2)
    await world.pump()
    key = state.waiting_key("r", "start r", "work")
    assert waiting(world) == [key, state.due_key(EPOCH_MS + 30_000, key)]
    assert world.tracker(TOPICS.event("StartEvent")).pending == 0
    await pass_seconds(world, 29)
    assert world.flow.attempts == [("r", 1)]
    await pass_seconds(world, 1)
    assert world.flow.attempts == [("r", 1), ("r", 2)]
    await pass_seconds(world, 30)
    assert outcomes(world) == [("retried", 1), ("retried", 2), ("returned", 3)]
    completed = world.end("r")
    assert isinstance(completed, Completed)
    assert completed.event == '{"result":[2,60.0,"Busy(2)"]}'
    assert waiting(world) == []
    assert world.kept(state.SUSPENDED) == []


async def test_attempts_used_up_fail_the_run_with_their_number(world: World) -> None:
    world.start("r", failures=9)
    await world.pump()
    await pass_seconds(world, 30)
    await pass_seconds(world, 30)
    failed = world.end("r")
    assert isinstance(failed, Failed)
    assert (failed.attempt, failed.failure.message) == (3, "3")
    assert outcomes(world) == [("retried", 1), ("retried", 2), ("raised", 3)]
    assert waiting(world) == []


async def test_a_resume_begins_the_policy_again_and_counts_on(world: World) -> None:
    world.start("r", failures=4)
    await world.pump()
    await pass_seconds(world, 30)
    await pass_seconds(world, 30)
    world.happen(Resumed(), "r", epoch=1)
    await world.pump()
    await pass_seconds(world, 30)
    assert [attempt for _, attempt in world.flow.attempts] == [1, 2, 3, 4, 5]
    assert isinstance(world.happenings("r")[-1], Completed)


async def test_a_cancelled_run_is_not_woken_and_its_resume_runs_it(world: World) -> None:
    world.start("r", failures=1)
    await world.pump()
    world.happen(Cancelled(), "r")
    await world.pump()
    assert waiting(world) == []
    await pass_seconds(world, 60)
    assert world.flow.attempts == [("r", 1)]
    world.happen(Resumed(), "r", epoch=1)
    await world.pump()
    assert world.flow.attempts == [("r", 1), ("r", 2)]


async def test_a_worker_that_comes_later_runs_what_is_due_once(world: World) -> None:
    for number in range(5):
        world.start(f"r{number}", failures=1)
    await world.pump()
    await world.crash()
    world.clock.ms += 600_000
    await world.begin()
    await pass_seconds(world, 0)
    assert len(world.flow.attempts) == 10
    assert world.ended == ["completed"] * 5


async def test_what_is_not_committed_is_not_woken(world: World) -> None:
    """The entry may never get into the log."""
    world.hold = True
    world.start("r", failures=1)
    world.deliver(TOPICS.event("StartEvent"))
    await turns()
    # The first commit has the run alone, or with the failed attempt.
    world.clock.ms += 60_000
    await asyncio.sleep(0.01)
    assert world.flow.attempts == [("r", 1)]
    world.hold = False
    world.log.decide()
    await pass_seconds(world, 0)
    assert len(world.flow.attempts) == 2


async def test_a_sleep_ends_the_attempt_and_is_over_in_the_next(world: World) -> None:
    world.start("r", sleep=100, failures=1)
    await world.pump()
    assert outcomes(world) == [("suspended", 1)]
    await pass_seconds(world, 100)
    assert outcomes(world) == [("suspended", 1), ("retried", 1)]
    await pass_seconds(world, 30)
    assert outcomes(world)[2:] == [("returned", 2)]
    await world.pump()
    assert world.kept(state.calls_prefix("r")) == []


async def test_a_great_deal_that_is_due_is_woken_in_turns(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "TURN_RECORDS", 3)
    for number in range(10):
        world.start(f"r{number}", sleep=100)
    await world.pump()
    await pass_seconds(world, 100)
    await pass_seconds(world, 0)
    assert world.ended == ["completed"] * 10


async def test_the_first_due_time_of_a_commit_counts(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "LOOK_SECONDS", 3600.0)
    store, draft = MemoryStore(), Draft(Overlay(MemoryState()))
    woken: list[bytes] = []
    timer = waking.Waking(clock, Ledger(store), woken.append, lambda: True, print)  # type: ignore[arg-type]
    timer.start()
    await turns()
    for later_ms in (100_000, 0, 50_000):
        due_ms = EPOCH_MS + later_ms
        store.write({state.due_key(due_ms, state.waiting_key("r", f"{due_ms}", "s")): b"1"})
        draft.due(due_ms)
    timer.committed(draft)
    await asyncio.sleep(0.01)
    timer.stop()
    assert len(woken) == 1


async def test_what_is_due_earlier_than_what_was_woken_is_found(world: World) -> None:
    """A clock that was set back suspends work until before the last that was woken."""
    world.start("first", sleep=100)
    await world.pump()
    await pass_seconds(world, 100)
    world.clock.ms -= 90_000
    world.start("second", sleep=20)
    await world.pump()
    await pass_seconds(world, 20)
    assert world.ended == ["completed"] * 2


async def test_nothing_is_woken_by_a_time_that_is_guessed(clock: Clock) -> None:
    """It may be of before the broker's clock was set."""
    store = MemoryStore()
    store.write({state.due_key(1, state.waiting_key("r", "e", "s")): b"1"})
    woken: list[bytes] = []
    clock.known = False
    timer = waking.Waking(clock, Ledger(store), woken.append, lambda: True, print)  # type: ignore[arg-type]
    timer.start()
    await asyncio.sleep(0.01)
    assert woken == []
    clock.known = True
    timer.time_is_another()
    await asyncio.sleep(0.01)
    timer.stop()
    assert len(woken) == 1


async def test_a_task_that_takes_no_more_is_asked_again(clock: Clock) -> None:
    store = MemoryStore()
    store.write({state.due_key(1, state.waiting_key("r", "e", "s")): b"1"})
    woken: list[bytes] = []
    answers = iter([False, False, True])
    timer = waking.Waking(clock, Ledger(store), woken.append, lambda: next(answers), print)  # type: ignore[arg-type]
    timer.start()
    await asyncio.sleep(0.02)
    timer.stop()
    assert len(woken) == 1


@pytest.mark.parametrize("meanwhile", ["the clock is corrected", "more is suspended"])
async def test_what_was_too_early_is_asked_again_whatever_sets_the_timer(
    clock: Clock, meanwhile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "LOOK_SECONDS", 3_600)
    store = MemoryStore()
    due = state.due_key(1, state.waiting_key("r", "e", "s"))
    store.write({due: b"1"})
    asked, once = list[bytes](), asyncio.Event()

    def is_too_early(key: bytes) -> bool:
        asked.append(key)
        once.set()
        return len(asked) == 1

    timer = waking.Waking(clock, Ledger(store), is_too_early, lambda: True, print)  # type: ignore[arg-type]
    timer.start()
    async with asyncio.timeout(10):
        await once.wait()
    if meanwhile == "the clock is corrected":
        timer.time_is_another()
    else:
        draft = Draft(Overlay(store))
        draft.first_due_ms = round(clock.now_ms()) + 3_600_000
        timer.committed(draft)
    await asyncio.sleep(0.01)
    timer.stop()
    assert asked == [due, due]


async def test_runs_that_wait_for_a_place_hold_up_nothing_that_is_due(clock: Clock) -> None:
    """The place is that of a run which sleeps: it would never be free."""
    world = World(clock, TimedFlow(), most_runs=1)
    world.step_group.slots.total = world.step_group.slots.free = 1
    await world.begin()
    world.start("first", sleep=100)
    await world.pump()
    for name in ("second", "third"):
        world.start(name)
    await world.pump()
    await pass_seconds(world, 100)
    await pass_seconds(world, 1)
    for each in world.made:
        await each.close()
    assert world.ended[:1] == ["completed"]


async def test_a_state_that_fails_breaks_the_task(clock: Clock) -> None:
    class Failing(MemoryStore):
        def scan(self, prefix: bytes, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
            raise OSError("disk")

    failures: list[Exception] = []
    never = Ledger(Failing())
    timer = waking.Waking(clock, never, print, lambda: True, failures.append)  # type: ignore[arg-type]
    timer.start()
    await asyncio.sleep(0.01)
    assert [repr(failure) for failure in failures] == ["OSError('disk')"]


async def test_what_a_correction_of_the_clock_left_of_a_sleep_is_slept_in_the_attempt(
    world: World,
) -> None:
    """The step was woken in time, and is not suspended for milliseconds once more."""
    world.start("r", sleep=100)
    await world.pump()
    world.clock.ms += 100_000
    await turns()
    world.flow.before = lambda: setattr(world.clock, "ms", world.clock.ms - 20)
    for _ in range(60):
        await asyncio.sleep(0.001)
    await world.pump()
    assert outcomes(world) == [("suspended", 1), ("returned", 1)]
    assert world.ended == ["completed"]
