"""Slots: runs take turns, and a task that is held back keeps none."""

from dataclasses import dataclass, field

from fleet.engine.admission.slots import Line, Slots


@dataclass(eq=False)
class Task:
    """A task that can be held back."""

    held_back: bool = False


@dataclass
class Worker:
    """Slots, and what began with them."""

    slots: Slots
    began: list[str] = field(default_factory=list)
    lines: dict[str, Line[str]] = field(default_factory=dict)

    def line_up(self, run: str, count: int, task: Task) -> None:
        """Let *count* steps of *run* wait for a slot."""
        line = self.lines.setdefault(run, Line(task, self.began.append))
        for number in range(count):
            line.append(f"{run}{number}")
            self.slots.wait(line)


def busy(count: int = 1) -> Worker:
    """Return a worker whose slots are all in use."""
    worker = Worker(Slots(count))
    worker.slots.free = 0
    return worker


def test_what_finds_a_slot_begins_at_once() -> None:
    """In the order in which it comes, up to the number of slots."""
    worker, task = Worker(Slots(2)), Task()
    worker.line_up("a", 3, task)
    assert worker.began == ["a0", "a1"]
    assert worker.slots.free == 0


def test_runs_take_turns() -> None:
    """A run with many steps delays another by one of them, whatever came first."""
    worker, task = busy(), Task()
    worker.line_up("a", 4, task)
    worker.line_up("b", 2, task)
    worker.line_up("c", 1, task)
    for _ in range(7):
        worker.slots.give_back()
    assert worker.began == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


def test_runs_of_several_tasks_take_turns() -> None:
    """A partition with many runs does not get less for each of them."""
    worker, full, lone = busy(), Task(), Task()
    worker.line_up("a", 2, full)
    worker.line_up("b", 2, full)
    worker.line_up("c", 2, lone)
    for _ in range(6):
        worker.slots.give_back()
    assert worker.began == ["a0", "b0", "c0", "a1", "b1", "c1"]


def test_a_task_that_is_held_back_is_passed_over() -> None:
    """Others begin meanwhile; its runs are next when it may begin again, in their order."""
    worker, held, other = busy(), Task(held_back=True), Task()
    worker.line_up("a", 2, held)
    worker.line_up("b", 1, held)
    worker.line_up("c", 3, other)
    worker.slots.give_back()
    held.held_back = False
    for _ in range(5):
        worker.slots.give_back()
    assert worker.began == ["c0", "a0", "b0", "c1", "a1", "c2"]


def test_slots_stay_free_while_every_task_is_held_back() -> None:
    """They are handed out when that is asked for again."""
    worker, held = Worker(Slots(2)), Task(held_back=True)
    worker.line_up("a", 1, held)
    assert (worker.began, worker.slots.free) == ([], 2)
    held.held_back = False
    worker.slots.hand_out()
    assert (worker.began, worker.slots.free) == (["a0"], 1)


def test_what_leaves_its_line_takes_no_slot() -> None:
    """The next one gets its turn."""
    worker, task = busy(), Task()
    worker.line_up("a", 1, task)
    worker.line_up("b", 1, task)
    gone = next(iter(worker.lines["a"]._waiting.values()))
    assert worker.lines["a"].remove(gone)
    assert not worker.lines["a"].remove(gone)
    worker.slots.give_back()
    worker.slots.give_back()
    assert (worker.began, worker.slots.free) == (["b0"], 1)
