"""
What a run's end means for its caller: a result, or the error to raise.

Types of events, results and errors are the user's, and may raise. Each such failure is an outcome
of the one run, with a sentence.
"""

from typing import Any, NamedTuple

from fleet.config import logs
from fleet.records.end_events import (
    WorkflowCancelledEvent,
    WorkflowFailedEvent,
    WorkflowTimedOutEvent,
)
from fleet.records.events import Event, UndecodableEvent, decoded
from fleet.records.foreign import FOREIGN, told
from fleet.records.lifecycle import Cancelled, Completed, Failed, Lifecycle, TimedOut
from fleet.workflow import definition
from fleet.workflow.definition import Definition
from fleet.workflow.errors import (
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
)
from fleet.workflow.failing import exceptions

_log = logs.get_logger("caller")


class Outcome(NamedTuple):
    """How a wait ends: with a result, or with an error."""

    #: The last event of the stream: it carries the result, or says how the run ended without one.
    event: Event | None = None
    result: Any = None
    error: BaseException | None = None


class _Unknown(Event, extra="allow"):
    """An event of a type that this process does not know."""


def of(workflow: type[Definition], terminal: Lifecycle, run_id: str) -> Outcome:
    """Return what the terminal record of a run means."""
    match terminal:
        case Completed():
            return _completed(workflow, terminal)
        case Failed():
            return _failed(terminal, run_id)
        case TimedOut(timeout_seconds=seconds, active_steps=active, waiting=waiting):
            timed_out = WorkflowTimedOutEvent(
                timeout=seconds, active_steps=list(active), waiting=list(waiting)
            )
            error: Exception = WorkflowTimeoutError(seconds, active, waiting)
            return Outcome(timed_out, error=error)
        case Cancelled(reason=reason):
            error = WorkflowCancelledByUser(run_id, reason)
            return Outcome(WorkflowCancelledEvent(), error=error)
    raise AssertionError(f"{terminal.kind} ends no run")


def event(workflow: type[Definition], type_name: str, value: bytes) -> Event:
    """Return the event, of its type if this process knows it and it takes the value."""
    known = definition.event_type(workflow, type_name)
    if known is not None:
        try:
            return decoded(known, value)
        except UndecodableEvent:
            pass
        except FOREIGN as failure:
            _log.warning("event_type_raised", type=type_name, reason=told(failure))
    return decoded(_Unknown, value)


def _completed(workflow: type[Definition], completed: Completed) -> Outcome:
    try:
        end = event(workflow, completed.event_type, completed.event.encode())
        return Outcome(event=end, result=definition.result_of(workflow, end))
    except UndecodableEvent as unreadable:
        return Outcome(error=WorkflowRuntimeError(str(unreadable)))
    except FOREIGN as failure:
        error = WorkflowRuntimeError(
            f"the result cannot be read: its type {completed.event_type} raises {told(failure)} "
            "for what the step returned; the run itself has completed"
        )
        return Outcome(error=error)


def _failed(failed: Failed, run_id: str) -> Outcome:
    error = _revived(failed, run_id)
    end = WorkflowFailedEvent(
        step_name=failed.step,
        exception=error,
        attempts=failed.attempt if failed.step else None,
        elapsed_seconds=failed.elapsed_seconds,
    )
    return Outcome(end, error=error)


def _revived(failed: Failed, run_id: str) -> Exception:
    try:
        return exceptions.revive(failed, run_id)
    except FOREIGN as failure:
        # The type is the user's, and its arguments may come from anywhere.
        _log.warning("error_not_revived", run_id=run_id, reason=told(failure))
        return WorkflowRuntimeError(f"{failed.failure.type}: {failed.failure.message}")
