"""The guards of runs that steps start and await."""

from typing import Any

from fleet.engine.transitions import runs
from fleet.engine.transitions.children import awaiting, cancelling, starting, telling
from fleet.engine.transitions.draft import Draft, Work
from fleet.engine.transitions.timed import Due, suspend
from fleet.records.nested.child import Child
from simulation.mutations.registry import instead_of


@instead_of(awaiting, "begin", near=389)
def _a_step_does_not_look_for_the_ends_that_came_before(
    draft: Draft, work: Work, until: Any, now_ms: int
) -> None:
    suspend(draft, work, Due(0, work.tries, children=until.children), now_ms)


@instead_of(awaiting, "end", near=284)
def _the_end_of_a_run_is_noted_and_wakes_no_step(
    draft: Draft, record: Any, envelope: Any, now_ms: int
) -> Any:
    before = dict(draft.state.changes)
    found = _end(draft, record, envelope, now_ms)
    if found:
        for key, _ in found:
            waiting = b"z" + key[1:]
            value = before.get(waiting) or draft.state.below.get(waiting)
            draft.state.delete(key)
            if value is not None:
                draft.state.put(waiting, value)
    return None if found is None else []


_end = awaiting.end


@instead_of(awaiting, "failed", near=251)
def _a_step_that_is_tried_again_gets_the_same_failure(*_: Any) -> None:
    """Leave it."""


@instead_of(cancelling, "of_run", near=903)
def _a_run_ends_and_what_it_awaits_goes_on(*_: Any) -> None:
    """Cancel nothing."""


@instead_of(cancelling, "of_step", near=396)
def _a_step_ends_and_what_it_awaits_goes_on(*_: Any) -> list[Any]:
    return []


@instead_of(runs, "mark_children", near=903)
def _a_run_does_not_know_that_it_awaits_others(*_: Any) -> None:
    """Leave nothing at the run."""


@instead_of(telling, "_record", near=389)
def _an_end_is_told_in_the_partition_of_the_run_that_ended(*given: Any) -> Any:
    return _record(*given)._replace(partition=None)


_record = telling._record


@instead_of(starting, "_caller", near=251)
def _a_run_inside_does_not_know_whose_it_is(view: Any, topics: Any, work: Work, call: Any) -> Any:
    return _caller(view, topics, work, call).model_copy(update={"run_id": "another"})


_caller = starting._caller


@instead_of(Child, "voided", near=251)
def _a_run_that_gave_nothing_is_awaited_on(self: Child) -> Child:
    return self


@instead_of(telling, "tell", near=251)
def _nobody_hears_of_the_end_of_a_run(*_: Any) -> None:
    """Say nothing."""
