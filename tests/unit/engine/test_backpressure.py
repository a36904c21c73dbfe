"""What a worker holds is bounded: steps that ended and are not committed, and delivered bytes."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from fleet import Event, StartEvent, StopEvent, step
from fleet.engine.admission import budget
from fleet.engine.admission.budget import Budget, Budgets
from fleet.engine.admission.slots import Slots
from fleet.engine.log import Receipt
from fleet.engine.task import StepGroupSettings, Task
from fleet.memory.backend import MemoryBroker, MemoryStore, MemoryStream
from fleet.observability.metrics import Metrics
from fleet.records.envelope import Envelope
from fleet.records.events import encoded, type_name
from fleet.records.log import Delivered, Outgoing
from fleet.records.topics import Topics
from fleet.workflow import definition
from fleet.workflow.definition import Definition

TOPICS = Topics("t", "backlog", "main")


class Part(Event):
    text: str = ""


class BacklogFlow(Definition, workflow="backlog"):
    """Counts its attempts."""

    def __init__(self) -> None:
        self.attempts = 0
        self.texts: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    @step
    async def begin(self, ev: StartEvent) -> Part | None:
        self.attempts += 1
        await self.gate.wait()
        return None

    @step
    async def take(self, ev: Part) -> StopEvent | None:
        self.attempts += 1
        self.texts.append(ev.text)
        await self.gate.wait()
        return None


class Log:
    """Commits nothing until it is let."""

    def __init__(self) -> None:
        self.lets = asyncio.Event()

    async def commit(
        self, records: Sequence[Outgoing], changes: Mapping[bytes, bytes | None]
    ) -> Receipt:
        await self.lets.wait()
        return Receipt(appended_ms=0, state_offset=0)

    async def close(self) -> None:
        """Nothing is held."""


class Rig:
    """Tasks of one worker over logs that commit nothing."""

    def __init__(self, slots: int, budgets: Budgets, tasks: int = 1) -> None:
        self.flow = BacklogFlow()
        step_group = StepGroupSettings(
            graph=definition.graph(BacklogFlow),
            topics=TOPICS,
            workflow=lambda: self.flow,
            slots=Slots(slots),
            stream=MemoryStream(MemoryBroker(), TOPICS),
            observer=Metrics(TOPICS),
            dedupe_days=1,
            resume_days=7,
            budgets=budgets,
        )
        self.logs = [Log() for _ in range(tasks)]
        self.tasks = [
            Task(step_group, number, log, MemoryStore(), lambda *_: None)
            for number, log in enumerate(self.logs)
        ]
        for task in self.tasks:
            task.restore()
            task.begin()
        self._offsets: dict[Any, int] = {}

    def deliver(self, task: Task, event: Event, most: int) -> int:
        """Hand on up to *most* events while the task takes them; return how many it took."""
        topic = TOPICS.event(type_name(event))
        for number in range(most):
            if not task.takes(topic):
                return number
            offset = self._offsets.get((task, topic), 0)
            self._offsets[task, topic] = offset + 1
            run_id = f"r{task.partition}-{offset}"
            headers = Envelope(run_id=run_id, event_id=run_id, type=type_name(event)).headers()
            key, value = run_id.encode(), encoded(event)
            task.intake.deliver(Delivered(topic, task.partition, offset, 1, key, value, headers))
        return most

    async def close(self) -> None:
        """End every task."""
        await asyncio.gather(*(task.close() for task in self.tasks))


async def turns(count: int = 50) -> None:
    """Let everything happen that waits for nothing but its turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_log_that_never_commits_runs_no_backlog() -> None:
    """Of 60,000 events that wait, as many are worked on as a crash may cost."""
    rig = Rig(slots=100, budgets=Budgets.of(64 * 1024 * 1024))
    left = 60_000
    while left:
        taken = rig.deliver(rig.tasks[0], StartEvent(), min(left, 500))
        left -= taken
        await turns()
        if not taken:
            break
    assert left
    assert rig.flow.attempts <= budget.UNCOMMITTED_STEPS + 100
    rig.logs[0].lets.set()
    while rig.flow.attempts < 60_000:
        left -= rig.deliver(rig.tasks[0], StartEvent(), min(left, 500))
        await turns()
    await rig.close()


async def test_a_task_whose_commits_hang_does_not_stop_its_neighbours() -> None:
    """It holds no slot, and the others have a share that it cannot take."""
    budgets = Budgets(Budget(10**6, 10**6), Budget(50, 5), Budget(10**9, 10**9))
    rig = Rig(slots=2, budgets=budgets, tasks=2)
    stuck, sound = rig.tasks
    rig.logs[1].lets.set()
    rig.deliver(stuck, Part(), 200)
    await turns(500)
    assert 50 <= rig.flow.attempts <= 52
    before = rig.flow.attempts
    rig.deliver(sound, Part(), 5)
    while rig.flow.attempts < before + 5:
        await turns()
    rig.logs[0].lets.set()
    while rig.flow.attempts < 205:
        await turns()
    await rig.close()


async def test_a_lost_task_holds_nothing() -> None:
    """What it had finished is nobody's any more."""
    budgets = Budgets(Budget(10**6, 0), Budget(5, 0), Budget(10**9, 0))
    rig = Rig(slots=2, budgets=budgets, tasks=2)
    lost, other = rig.tasks
    rig.deliver(lost, Part(text="x" * 100), 20)
    await turns()
    assert budgets.steps.held >= 5
    assert not other.takes(TOPICS.event("Part"))
    lost.broken(ValueError("x"))
    assert budgets.steps.held == budgets.uncommitted.held == budgets.window.held == 0
    assert other.takes(TOPICS.event("Part"))
    await rig.close()


async def test_what_is_to_be_committed_is_bounded_in_bytes() -> None:
    """Records that nobody can read are buried, also without a commit: to a limit."""
    budgets = Budgets(Budget(10**6, 0), Budget(10**6, 0), Budget(200_000, 0))
    rig = Rig(slots=2, budgets=budgets)
    topic, task = TOPICS.event("Part"), rig.tasks[0]
    taken = 0
    while task.takes(topic) and taken < 1_000:
        task.intake.deliver(Delivered(topic, 0, taken, 1, b"k", b"x" * 10_000, []))
        taken += 1
    assert 10 < taken < 25
    await rig.close()


async def test_delivered_events_are_bounded_in_bytes() -> None:
    """Those that wait for a slot and those that run; `runs` is read all the same."""
    rig = Rig(slots=1, budgets=Budgets(Budget(100_000, 0)))
    rig.flow.gate.clear()
    task = rig.tasks[0]
    taken = rig.deliver(task, Part(text="x" * 10_000), 100)
    assert taken == 10
    assert task.takes(TOPICS.runs)
    assert not task.takes(TOPICS.event("StartEvent"))
    rig.flow.gate.set()
    while taken < 100:
        taken += rig.deliver(task, Part(text="x" * 10_000), 100 - taken)
        await turns()
    await rig.close()


async def test_an_event_larger_than_the_window_passes() -> None:
    """Alone, and then the next one."""
    rig = Rig(slots=1, budgets=Budgets(Budget(1_000, 0)))
    rig.flow.gate.clear()
    assert rig.deliver(rig.tasks[0], Part(text="x" * 10_000), 2) == 1
    rig.flow.gate.set()
    while rig.tasks[0].inputs.window.held:
        await turns()
    assert rig.deliver(rig.tasks[0], Part(text="x" * 10_000), 2) == 1
    await rig.close()


@pytest.mark.parametrize("size", [10, 100_000])
async def test_a_large_event_that_waits_is_its_bytes(size: int) -> None:
    """It is decoded once more when its step begins, and is the same then."""
    rig = Rig(slots=1, budgets=Budgets.of(10**9))
    rig.flow.gate.clear()
    events = [f"{number}" * size for number in range(3)]
    for text in events:
        rig.deliver(rig.tasks[0], Part(text=text), 1)
    await turns()
    held = [attempt.work.event for attempt in rig.tasks[0].attempts if not attempt.started]
    assert all(isinstance(event, Part) is (size == 10) for event in held)
    rig.flow.gate.set()
    while len(rig.flow.texts) < 3:
        await turns()
    assert rig.flow.texts == events
    await rig.close()
