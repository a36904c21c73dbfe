"""What fails: a step, a record that cannot be processed, a result that the broker refuses."""

from typing import NamedTuple

from fleet.engine.transitions import dead_letters, ends, joins, recoveries, runs, suspending
from fleet.engine.transitions.draft import Draft, Wiring, Work
from fleet.engine.transitions.refused import Culprit, note_caught
from fleet.engine.transitions.resolve import Rejected
from fleet.engine.transitions.runs import Admission
from fleet.engine.transitions.suspended import Tries
from fleet.records.dead_letter import Reason
from fleet.records.lifecycle import Failed
from fleet.records.log import Delivered
from fleet.records.state import View
from fleet.records.topics import Topics
from fleet.workflow.failing import exceptions


class StepFailed(NamedTuple):
    """Why a step is not tried again."""

    error: BaseException
    reason: Reason = Reason.FAILED
    #: How often it was tried, if that is not the number of its attempt.
    attempts: int | None = None
    #: From the beginning of its first attempt to its failure.
    elapsed_seconds: float = 0.0
    #: Broker time of the failure, in unix milliseconds.
    failed_ms: float = 0.0


def step_failed(draft: Draft, wiring: Wiring, work: Work, failure: StepFailed) -> bool:
    """Take a step's failure: its handler gets it, or the run fails. Tell whether a handler does."""
    if recoveries.catch(draft, wiring, work, failure):
        return True
    _fail_run(draft, wiring.topics, work, failure)
    return False


def _fail_run(draft: Draft, topics: Topics, work: Work, failure: StepFailed) -> None:
    """Take a failure that no handler takes: a dead letter, and the run fails with its error.

    The step is suspended until the run is resumed.
    """
    failed = Failed(
        step=work.step.name,
        event_id=work.envelope.event_id,
        attempt=work.attempt if failure.attempts is None else failure.attempts,
        elapsed_seconds=round(max(0.0, failure.elapsed_seconds), 6) or None,
        failure=exceptions.describe(failure.error),
    )
    joined = joins.count(draft.state, work)
    dead_letters.append(draft, topics, work.record, failure.reason, failed, joined=joined)
    draft.append_lifecycle(topics, work.envelope, failed)
    tries = (work.tries or Tries()).failed_again()
    suspending.keep(draft, work.record, work.envelope, work.step.name, tries)


def rejected(draft: Draft, topics: Topics, record: Delivered, found: Rejected) -> None:
    """Take a record that cannot be processed: a dead letter, and its run, if it has one, fails.

    The record is suspended until the run is resumed.
    """
    envelope = found.envelope
    event_id = envelope.event_id if envelope else ""
    failure = exceptions.describe(found.error)
    failed = Failed(step="", event_id=event_id, attempt=0, failure=failure)
    dead_letters.append(draft, topics, record, found.reason, failed)
    # The sender of a repeated start learns that the run is known: that fails no run.
    if envelope is None or found.entrance.admission is Admission.DROP:
        return
    if found.entrance.admission is Admission.RUN:
        draft.append_lifecycle(topics, runs.at_epoch(draft.state, envelope), failed)
    suspending.keep(draft, record, envelope, "")


def refused(
    draft: Draft, wiring: Wiring, view: View, culprit: Culprit, failed_ms: float = 0.0
) -> None:
    """Let an attempt fail whose result the broker refused, in the commit that it was in.

    *view* tells what its run has come to since; *failed_ms* is the broker's time. If it has its
    result, nothing of the attempt is kept.
    """
    envelope = runs.at_epoch(view, culprit.work.envelope)
    work, end = culprit.work._replace(envelope=envelope), runs.end_of(view, envelope.run_id)
    if end is not None and not end.resumable:
        # What the attempt's result would have removed is there again, and its run is gone.
        ends.remove_held(draft, envelope.run_id)
        return
    failure = StepFailed(culprit.error, culprit.reason, failed_ms=failed_ms)
    if culprit.caught is not None:
        # The broker refuses the handler's event, too: no handler can get this failure.
        _fail_run(draft, wiring.topics, work, culprit.caught.failure)
    elif end is None:
        if step_failed(draft, wiring, work, failure):
            note_caught(draft, culprit)
    else:
        # Its resume runs the step again, and then its handler gets the failure.
        _fail_run(draft, wiring.topics, work, failure)
