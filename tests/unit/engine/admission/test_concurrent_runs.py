"""Places of a worker for runs: in order, and given back by whatever ends a run."""

from dataclasses import dataclass, field

from fleet.engine.admission.concurrent_runs import ConcurrentRuns, Rank


@dataclass(eq=False)
class Task:
    """Asks for places, and hears of them."""

    runs: ConcurrentRuns
    admitted: list[str] = field(default_factory=list)

    def admit(self, run_id: str) -> None:
        self.admitted.append(run_id)

    def ask(self, run_id: str, since_ms: float = 0, *, is_new: bool = True) -> bool:
        return self.runs.ask(self, run_id, Rank(is_new, since_ms))


def full(limit: int = 1) -> tuple[ConcurrentRuns, Task]:
    """Return places that are all taken, by runs called "in0" and so on of the task."""
    runs = ConcurrentRuns(limit)
    task = Task(runs)
    assert all(task.ask(f"in{number}") for number in range(limit))
    return runs, task


def test_without_a_limit_every_run_has_a_place() -> None:
    """Nothing is counted then."""
    runs = ConcurrentRuns()
    assert all(Task(runs).ask(f"r{number}") for number in range(100))
    assert (len(runs), runs.waiting) == (0, 0)


def test_runs_get_places_up_to_the_limit() -> None:
    """One that has a place keeps it, however often it asks."""
    runs, task = full(2)
    assert not task.ask("late")
    assert task.ask("in1")
    assert not task.ask("late")
    assert (len(runs), runs.waiting) == (2, 1)


def test_those_that_wait_come_in_their_order() -> None:
    """By their time, whichever task they are of; the same time, as they came."""
    runs, task = full()
    other = Task(runs)
    task.ask("third", 30)
    other.ask("first", 10)
    task.ask("second", 20)
    other.ask("second too", 20)
    runs.leave(task, "in0")
    assert (task.admitted, other.admitted) == ([], ["first"])
    runs.leave(other, "first")
    runs.leave(task, "second")
    runs.leave(other, "second too")
    assert (task.admitted, other.admitted) == (["second", "third"], ["first", "second too"])


def test_those_that_had_begun_come_first() -> None:
    """In a partition that moved here: their time runs."""
    runs, task = full()
    task.ask("new", 1)
    task.ask("moved", 2, is_new=False)
    runs.leave(task, "in0")
    assert task.admitted == ["moved"]


def test_a_run_that_waits_no_more_gets_no_place() -> None:
    """It was cancelled; if it asks again it is behind the others."""
    runs, task = full()
    task.ask("gone", 1)
    task.ask("next", 2)
    runs.leave(task, "gone")
    assert not task.ask("gone", 3)
    runs.leave(task, "in0")
    assert task.admitted == ["next"]
    runs.leave(task, "next")
    assert task.admitted == ["next", "gone"]


def test_a_task_that_goes_gives_its_places_to_others() -> None:
    """Also those for which it waits."""
    runs, task = full(2)
    other = Task(runs)
    task.ask("own", 1)
    assert not other.ask("a", 2)
    assert not other.ask("b", 3)
    runs.close(task)
    assert (task.admitted, other.admitted, len(runs)) == ([], ["a", "b"], 2)


def test_a_task_that_drains_keeps_the_places_of_what_runs() -> None:
    """It only begins nothing more."""
    runs, task = full()
    other = Task(runs)
    task.ask("own", 1)
    other.ask("a", 2)
    runs.withdraw(task)
    assert other.admitted == []
    runs.leave(task, "in0")
    assert (task.admitted, other.admitted) == ([], ["a"])
