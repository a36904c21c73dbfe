"""The guards of work that waits for its time."""

from typing import Any

from fleet.engine.finishing import Finishing
from fleet.engine.timers.waking import Waking
from fleet.engine.transitions import retries, runs, suspended, timed
from fleet.engine.transitions.draft import Draft, Work
from fleet.engine.transitions.suspended import Suspended, Tries
from fleet.engine.transitions.timed import Due
from fleet.records import state
from simulation.mutations.registry import instead_of


@instead_of(Waking, "committed", near=193)
def _what_is_suspended_sets_no_timer(_self: Any, _draft: Draft) -> None:
    """Look only when something else does."""


@instead_of(state, "due_of", near=81)
def _everything_that_waits_is_due(key: bytes) -> tuple[int, bytes]:
    time, _, rest = key[len(state.DUE) :].partition(b"\0")
    return int(time) - 3_000, state.WAITING + rest


@instead_of(Waking, "_try_to_look", near=269)
def _a_timer_raises_to_nobody(self: Any) -> None:
    self._look()


@instead_of(Waking, "_next_at", near=11267)
def _what_was_too_early_sets_no_timer(self: Any, due_ms: int) -> None:
    if self._next_ms is None and not self._too_early:
        self._next_ms = due_ms


@instead_of(timed, "wake", near=719)
def _what_is_woken_waits_still(
    draft: Draft, due: bytes, now_ms: int
) -> tuple[bytes, Suspended] | None:
    _, waiting = state.due_of(due)
    before = draft.state.get(waiting)
    found = _wake(draft, due, now_ms)
    if before is not None:
        draft.state.put(waiting, before)
    return found


_wake = timed.wake


@instead_of(timed, "wake", near=7)
def _what_is_woken_stays_due(
    draft: Draft, due: bytes, now_ms: int
) -> tuple[bytes, Suspended] | None:
    found = _wake(draft, due, now_ms)
    draft.state.put(due, b"1")
    return found


@instead_of(suspended, "_remove", near=7)
def _the_time_of_work_outlives_it(changes: Any, key: bytes, _entry: Suspended) -> None:
    changes.delete(key)


@instead_of(suspended, "await_resume", near=21)
def _work_that_waits_does_so_over_the_end_of_its_run(changes: Any, run_id: str) -> None:
    waiting = list(changes.items(state.waiting_prefix(run_id)))
    _await_resume(changes, run_id)
    for key, value in waiting:
        changes.put(key, value)
        changes.put(state.due_key(Suspended.decode(value).due_ms, key), b"1")
        changes.delete(state.awaiting_prefix(run_id) + key[len(state.waiting_prefix(run_id)) :])


_await_resume = suspended.await_resume


@instead_of(suspended, "remove", near=7)
def _work_that_waits_outlives_its_run(changes: Any, run_id: str) -> None:
    changes.delete_all(state.suspended_prefix(run_id))


@instead_of(Tries, "failed_again", near=916)
def _the_last_failure_is_not_counted(self: Tries) -> Tries:
    return self


@instead_of(Tries, "resumed", near=208)
def _a_resume_forgets_the_attempts_before(_self: Tries) -> Tries:
    return Tries()


@instead_of(retries, "next_try", near=29)
def _a_step_is_tried_again_at_once(
    _policy: Any, work: Work, error: BaseException, started_ms: int, now_ms: int
) -> Due | None:
    due = _next_try(_policy, work, error, started_ms, now_ms)
    return due._replace(due_ms=now_ms - 5_000) if due is not None else None


_next_try = retries.next_try


@instead_of(Finishing, "_suspend", near=81)
def _a_sleep_is_not_noted(self: Any, work: Work, until: Any) -> None:
    now_ms = round(self._parts.clock.now_ms())
    timed.suspend(self._parts.draft, work, Due(until.due_ms, work.tries), now_ms)


@instead_of(timed, "suspend", near=7)
def _work_waits_at_a_run_that_does_not_know(
    draft: Draft, work: Work, due: Due, now_ms: int
) -> None:
    mark, runs.mark_held = runs.mark_held, lambda *_: None
    try:
        _suspend(draft, work, due, now_ms)
    finally:
        runs.mark_held = mark


_suspend = timed.suspend


@instead_of(timed, "suspend", near=81)
def _the_attempts_before_are_forgotten(draft: Draft, work: Work, due: Due, now_ms: int) -> None:
    tries = due.tries.model_copy(update={"failed": 1}) if due.tries is not None else None
    _suspend(draft, work, due._replace(tries=tries), now_ms)
