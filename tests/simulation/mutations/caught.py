"""The guards of failures that handlers take."""

from typing import Any

from fleet.engine.finishing import Finishing
from fleet.engine.transitions import joins, recoveries, results
from fleet.records.envelope import Envelope
from fleet.workflow.steps import Step
from simulation.mutations.registry import instead_of

_child, _of_result, _of_batch = recoveries._child, results._child, joins._batch_envelope


@instead_of(recoveries, "catch", near=0)
def _no_handler_gets_a_failure(*_: Any) -> bool:
    return False


@instead_of(Finishing, "_next_try", near=0)
def _a_handler_comes_before_the_last_attempt(*_: Any) -> None:
    """Try nothing again."""


@instead_of(recoveries, "_close", near=36)
def _a_failed_step_stays_in_its_fan_out(_part: Any, _work: Any) -> None:
    """Leave its item, and the events of a join."""


@instead_of(recoveries, "_child", near=36)
def _the_event_of_a_handler_is_of_no_fan_out(*given: Any) -> Envelope:
    return _child(*given)._replace(scope="")


@instead_of(recoveries, "_counted", near=134)
def _a_handler_runs_as_often_as_steps_fail(envelope: Envelope, handler: Step) -> Any:
    counts = dict(envelope.recoveries)
    return tuple({**counts, handler.name: counts.get(handler.name, 0) + 1}.items())


@instead_of(results, "_child", near=36)
def _what_a_handler_returns_is_of_no_lineage(*given: Any) -> Envelope:
    return _of_result(*given)._replace(recoveries=())


@instead_of(joins, "_batch_envelope", near=134)
def _a_join_forgets_which_handlers_ran_before_its_fan_out(*given: Any) -> Envelope:
    return _of_batch(*given)._replace(recoveries=())
