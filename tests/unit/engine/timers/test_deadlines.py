"""The deadlines of a task's runs: one timer over the broker's clock."""

import asyncio

import pytest

from fleet.engine.clock import BrokerClock
from fleet.engine.timers import deadlines as module
from fleet.engine.timers.deadlines import Deadlines

RUNS = "fleet.joke.runs"


class Scene:
    """Deadlines, and the monotonic clock of their machine."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.passed: list[str] = []
        self.clock = BrokerClock(lambda: self.seconds, RUNS)
        self.deadlines = Deadlines(self.clock, self.passed.append)
        self.deadlines.start()

    def commit(self, now_ms: int) -> None:
        """Let a commit tell the time."""
        self.deadlines.sealed()
        if self.clock.observe({RUNS: now_ms}, 0):
            self.deadlines.time_is_another()
        self.deadlines.committed()


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0.001)


async def test_a_deadline_that_was_passed_while_nobody_looked_is_found(scene: Scene) -> None:
    scene.commit(1_000)
    scene.deadlines.restore("old", 999)
    scene.deadlines.restore("new", 100_000)
    await turns()
    assert scene.passed == ["old"]


async def test_nothing_passes_by_a_time_that_is_guessed(scene: Scene) -> None:
    """It may be of before the broker's clock was set."""
    scene.clock.has_been(5_000)
    scene.deadlines.restore("r", 4_000)
    await turns()
    assert scene.passed == []
    scene.commit(4_000)
    await turns()
    assert scene.passed == ["r"]


async def test_a_deadline_counts_from_the_commit_of_its_run(scene: Scene) -> None:
    """The record it is counted from is read first, and the commit says that the clock was set."""
    scene.commit(10_000_000)
    scene.deadlines.sealed()
    scene.deadlines.add("r", 6_000)
    scene.deadlines.committed()
    await turns()
    assert scene.passed == []
    scene.commit(0 + 1)
    await turns()
    assert scene.passed == []
    assert len(scene.deadlines) == 1


async def test_a_run_that_ends_before_that_is_forgotten(scene: Scene) -> None:
    scene.deadlines.add("a", 1)
    scene.deadlines.sealed()
    scene.deadlines.add("b", 1)
    scene.deadlines.drop("a")
    scene.deadlines.drop("b")
    scene.deadlines.committed()
    scene.commit(1_000)
    await turns()
    assert (scene.passed, len(scene.deadlines)) == ([], 0)


async def test_a_correction_sets_the_timer_anew(scene: Scene) -> None:
    """A machine that was suspended learns from a commit that a deadline has passed."""
    scene.commit(1_000)
    scene.deadlines.restore("r", 50_000)
    await turns()
    scene.commit(50_001)
    await turns()
    assert scene.passed == ["r"]


async def test_the_clock_is_looked_at_now_and_then(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no commit comes a machine that was suspended finds out by itself."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    scene.commit(1_000)
    scene.deadlines.restore("r", 50_000)
    scene.seconds += 60
    await asyncio.sleep(0.1)
    assert scene.passed == ["r"]
