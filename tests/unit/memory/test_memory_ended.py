"""What a process keeps in memory of runs that have ended."""

import asyncio
from typing import Any

import pytest

from fleet import StartEvent, StopEvent, Workflow, step
from fleet.config import settings
from fleet.engine import retention
from fleet.engine.task import Task
from fleet.memory import runner
from fleet.records import state
from fleet.workflow.errors import RunConflict

MOST = 5


class EchoFlow(Workflow):
    @step
    async def echo(self, ev: StartEvent) -> StopEvent:
        if ev.get("n") < 0:
            raise LookupError(ev.get("n"))
        return StopEvent(result=ev.get("n"))


class Scene:
    """A workflow in memory, and the task and log behind it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tasks: list[Task] = []
        init = Task.__init__

        def remembered(task: Task, *arguments: object) -> None:
            init(task, *arguments)  # type: ignore[arg-type]
            self.tasks.append(task)

        monkeypatch.setattr(Task, "__init__", remembered)
        monkeypatch.setattr(runner, "MOST_ENDED", MOST)
        monkeypatch.setattr(retention, "LOOK_SECONDS", 0.01)
        monkeypatch.setattr(retention, "READ_SECONDS", 0.11)
        self.flow = EchoFlow(timeout=60)

    def ends(self) -> int:
        (task,) = self.tasks
        return len(list(task.ledger.items(state.END)))

    async def kept(self) -> list[int]:
        """Return which of the first thirty runs are still answered."""
        starter: Any = self.flow._fleet_starter()
        transport = starter._transport
        asked = [await transport.look_back(f"r{each}", 0) for each in range(30)]
        return [number for number, found in enumerate(asked) if found]


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


async def _until_forgotten(scene: Scene, most: int) -> None:
    async with asyncio.timeout(20):
        while scene.ends() > most:  # noqa: ASYNC110 - nobody tells when something is forgotten
            await asyncio.sleep(0.01)


async def test_the_newest_are_remembered_and_no_more(scene: Scene) -> None:
    """State and records go together, the oldest first."""
    for number in range(30):
        await scene.flow.run(run_id=f"r{number}", n=number)
    await _until_forgotten(scene, MOST)

    assert await scene.kept() == [25, 26, 27, 28, 29]
    assert await scene.flow.run(run_id="r29", n=29) == 29
    with pytest.raises(RunConflict):
        await scene.flow.run(run_id="r29", n=1)


async def test_those_without_a_result_too(scene: Scene) -> None:
    """Failed runs are kept for longer, and are bounded likewise."""
    for number in range(12):
        with pytest.raises(LookupError):
            await scene.flow.run(run_id=f"r{number}", n=-1)
    await _until_forgotten(scene, MOST)

    (task,) = scene.tasks
    assert {
        key[: len(state.AWAITING_RESUME)] for key, _ in task.ledger.items(state.AWAITING_RESUME)
    } == {state.AWAITING_RESUME}
    assert len(list(task.ledger.items(state.AWAITING_RESUME))) == MOST
    assert await scene.kept() == [7, 8, 9, 10, 11]


async def test_what_goes_on_is_not_forgotten(scene: Scene) -> None:
    """Only ends are counted."""
    gate = asyncio.Event()

    class Waiting(Workflow):
        @step
        async def wait(self, ev: StartEvent) -> StopEvent:
            await gate.wait()
            return StopEvent(result=ev.get("n"))

    flow = Waiting(timeout=60)
    runs = [flow.run(run_id=f"r{number}", n=number) for number in range(20)]
    await asyncio.sleep(0.2)
    gate.set()
    assert [await each for each in runs] == list(range(20))
    await _until_forgotten(scene, MOST)


async def test_a_time_that_is_over_is_heeded_in_memory(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells how far an in-process log was read, and it is read at once."""
    monkeypatch.setattr(settings, "current", lambda: settings.Settings(dedupe_days=1e-6))
    assert await scene.flow.run(run_id="r0", n=1) == 1
    await _until_forgotten(scene, 0)
    assert await scene.kept() == []
