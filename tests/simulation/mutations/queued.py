"""The guards of runs that wait for a place, and of work that is set aside, each taken out."""

from typing import Any

from fleet.engine.admission.concurrent_runs import ConcurrentRuns
from fleet.engine.admission.run_queues import RunQueues
from fleet.engine.attempts import Attempts
from fleet.engine.task import Task
from fleet.engine.transitions import runs, starts, suspending, unhandled
from simulation.mutations.registry import instead_of


@instead_of(ConcurrentRuns, "ask")
def _every_run_gets_a_place(self: Any, queue: Any, run_id: str, rank: Any) -> bool:
    del rank
    self._inside.add((queue, run_id))
    return True


@instead_of(RunQueues, "leave")
def _a_run_that_ended_keeps_its_place(self: Any, run_id: str) -> None:
    del self, run_id


@instead_of(Task, "_takes_more", near=13109)
def _what_waits_for_a_place_holds_up_what_is_due(self: Any) -> bool:
    return bool(len(self.attempts) < self.step_group.slots.total)


@instead_of(ConcurrentRuns, "close", near=29)
def _runs_of_a_partition_that_moved_keep_their_places(self: Any, queue: Any) -> None:
    self.withdraw(queue)


@instead_of(Attempts, "_has_begun", near=385)
def _a_run_without_a_start_keeps_its_place(self: Any, run_id: str) -> bool:
    del self, run_id
    return True


@instead_of(starts, "admit", near=651)
def _a_run_that_gets_its_place_is_not_told(*_: Any) -> bool:
    return False


_with_deadline = runs.with_deadline


@instead_of(runs, "with_deadline", near=2112)
def _the_time_of_a_run_counts_while_it_waits(run: Any, started: Any, appended_ms: int) -> Any:
    return _with_deadline(run, started.model_copy(update={"queued": False}), appended_ms)


_set_aside = suspending.set_aside


@instead_of(suspending, "set_aside")
def _a_run_does_not_know_that_work_is_set_aside(draft: Any, work: Any) -> bytes:
    mark_held, runs.mark_held = runs.mark_held, lambda *_: None
    try:
        return _set_aside(draft, work)
    finally:
        runs.mark_held = mark_held


_record = unhandled.record


@instead_of(unhandled, "record")
def _an_event_that_no_step_takes_is_not_shown(topics: Any, *rest: Any, **idle: Any) -> Any:
    return _record(topics, *rest, **idle)._replace(topic=topics.inbox)


@instead_of(RunQueues, "clear", near=1184)
def _work_that_is_set_aside_outlives_its_run(self: Any, run_id: str) -> None:
    del self, run_id
