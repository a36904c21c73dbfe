"""The guards of steps that wait for events."""

from typing import Any

from fleet.engine.intake import Intake
from fleet.engine.reading import Reading
from fleet.engine.task import Task
from fleet.engine.transitions import runs, suspended, timed
from fleet.engine.transitions.draft import Draft, Work
from fleet.engine.transitions.resolve import Resolver
from fleet.engine.transitions.suspended import Suspended
from fleet.engine.transitions.waiting import answers, questions, waits
from fleet.records import state
from fleet.records.waits import Answer, Wait
from simulation.mutations.registry import instead_of


@instead_of(answers, "keep", near=119)
def _an_answer_that_comes_early_is_dropped(_draft: Any, _record: Any, _envelope: Any) -> bool:
    return True


@instead_of(answers, "find", near=119)
def _a_wait_does_not_look_for_what_came_before(*_: Any) -> None:
    """Find none."""


@instead_of(answers, "_held", near=174)
def _an_answer_of_a_client_that_knows_nothing_is_lost(_entry: Any) -> Any:
    return Answer("", "", b"")


@instead_of(answers, "remove", near=119)
def _answers_outlive_their_run(_draft: Draft, _run_id: str) -> None:
    """Leave them."""


@instead_of(runs, "mark_waits", near=119)
def _a_run_does_not_know_that_it_waits(_changes: Any, _run_id: str) -> None:
    """Leave nothing at the run."""


@instead_of(Wait, "read", near=119)
def _a_wait_takes_any_event_of_its_type(
    _self: Any, kind: Any, type_called: str, value: bytes
) -> Any:
    return kind.model_validate_json(value) if type_called == kind.__name__ else None


@instead_of(timed, "run_now", near=174)
def _an_answer_leaves_the_wait_as_it_is(
    draft: Draft, waiting: bytes, entry: Suspended, now_ms: int
) -> tuple[bytes, Suspended]:
    before, due = draft.state.get(waiting), entry.due_ms
    found = _run_now(draft, waiting, entry, now_ms)
    if before is not None and entry.wait is not None and due:
        draft.state.put(waiting, before)
    return found


_run_now = timed.run_now


@instead_of(waits, "begin", near=119)
def _an_early_answer_is_taken_and_stays(
    draft: Draft, wiring: Any, work: Work, until: Any, now_ms: int
) -> None:
    _begin(draft, wiring, work, until, now_ms)
    for key, value in list(draft.state.below.items(state.answers_prefix(work.envelope.run_id))):
        if draft.state.get(key) is None:
            draft.state.put(key, value)


_begin = waits.begin


@instead_of(questions, "record", near=119)
def _a_question_is_another_one_each_time(topics: Any, cause: Any, event: Any, value: bytes) -> Any:
    return _question(topics, cause._replace(event_id="0"), event, value)


_question = questions.record


@instead_of(suspended, "resume", near=119)
def _a_resume_forgets_what_steps_wait_for(
    changes: Any, run_id: str, epoch: int, now_ms: int
) -> list[tuple[bytes, Suspended]]:
    kept = _resume(changes, run_id, epoch, now_ms)
    for key, entry in kept:
        if entry.wait is not None:
            changes.delete(key)
            if entry.due_ms:
                changes.delete(state.due_key(entry.due_ms, key))
    return [(key, entry) for key, entry in kept if entry.wait is None]


_resume = suspended.resume


@instead_of(Resolver, "_waiting", near=4169)
def _the_answer_to_a_run_without_a_result_is_not_for_its_waits(
    self: Any, view: Any, record: Any, envelope: Any, entrance: Any
) -> Any:
    if entrance.admission is not runs.Admission.RUN:
        return []
    return _waiting(self, view, record, envelope, entrance)


_waiting = Resolver._waiting


@instead_of(Intake, "_run_beside", near=174)
def _an_event_that_ended_a_wait_is_for_no_other_step(_self: Any, _work: Any, _how: Any) -> None:
    """Leave them out."""


@instead_of(Reading, "have_brought", near=4823)
def _a_wait_times_out_before_its_events_are_read(_self: Any, _time_ms: float, _topics: Any) -> bool:
    return True


@instead_of(Task, "_all_in_log", near=3598)
def _what_asks_while_a_commit_is_under_way_waits_for_another(_self: Any) -> None:
    """Tell no one."""
