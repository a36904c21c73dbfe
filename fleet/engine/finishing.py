"""Attempts finish: what a step returned or raised goes into the draft, with its history."""

from fleet.config import logs
from fleet.engine.activity import UnhandledLog
from fleet.engine.admission.suspects import CrashesWorker
from fleet.engine.attempts import Attempt, Outcome
from fleet.engine.log import RecordsRefused
from fleet.engine.open_work import OpenWork
from fleet.engine.parts import Parts
from fleet.engine.transitions import failures, refused, results, run_history
from fleet.engine.transitions.draft import Draft, Work
from fleet.engine.transitions.failures import StepFailed
from fleet.engine.transitions.outcomes import Raised, Returned
from fleet.engine.transitions.results import Moment
from fleet.engine.transitions.sizes import RecordTooLarge
from fleet.records.dead_letter import Reason
from fleet.records.events import type_name
from fleet.records.lifecycle import MOST_SENT, RAISED, RETURNED, StepRecord
from fleet.records.log import Outgoing
from fleet.records.state import View
from fleet.workflow.errors import ContextValueTooLarge

_log = logs.get_logger("task")


class Finishing:
    """Takes the attempts of one task that finish."""

    def __init__(self, parts: Parts, open_work: OpenWork) -> None:
        self._parts = parts
        self._open_work = open_work
        #: That of the newest event; see `Envelope.order`.
        self._order = 0
        self._unhandled = UnhandledLog(parts.topics)

    def finished(self, attempt: Attempt, outcome: Outcome) -> None:
        """Take what an attempt ended with."""
        parts, work = self._parts, attempt.work
        if isinstance(outcome, Returned) and _is_stale(outcome, parts.ledger):
            parts.attempts.add(work)
            return
        outcome = self._take(work, outcome)
        step = self._record(attempt, outcome)
        parts.observer.step_finished(work, outcome, step)
        run_history.note(parts.draft, parts.topics, work, step)
        self._open_work.close(work)
        parts.draft.count_step()
        parts.commits.now()

    def refused(self, draft: Draft, found: RecordsRefused) -> None:
        """Let what the broker refuses be the failure of the attempts that made it."""
        topics = self._parts.topics
        for culprit in refused.take_out(draft, topics, found.refused, self._left_out):
            if culprit.call:
                self._parts.own_commits.refused(culprit)
            else:
                failures.refused(draft, topics, self._parts.ledger, culprit)

    def _take(self, work: Work, outcome: Outcome) -> Outcome:
        """Bring an outcome into the draft; return it, or the error for which it was refused."""
        parts = self._parts
        if isinstance(outcome, Returned):
            try:
                self._bring(work, outcome)
                return outcome
            except BaseException as refusal:  # noqa: BLE001 - the boundary: encoding is user code
                outcome = Raised(refusal)
        failures.step_failed(parts.draft, parts.topics, work, _failed(outcome.error))
        return outcome

    def _bring(self, work: Work, outcome: Returned) -> None:
        parts = self._parts
        alone = not parts.attempts.has(work.envelope.run_id)
        moment = Moment(self._orders(len(outcome.sent)), alone)
        for name in results.returned(parts.draft, parts.wiring, work, outcome, moment):
            self._unhandled.say(name, work.step.name)

    def _orders(self, count: int) -> int:
        """Return the first of *count* orders, which are larger than all before."""
        first = max(round(self._parts.clock.now_ms() * 1_000), self._order + 1)
        self._order = first + count
        return first

    def _record(self, attempt: Attempt, outcome: Outcome) -> StepRecord:
        work, clock = attempt.work, self._parts.clock
        sent = outcome.sent if isinstance(outcome, Returned) else ()
        return StepRecord(
            step=work.step.name,
            group=self._parts.topics.group,
            event_id=work.envelope.event_id,
            event_type=work.envelope.type,
            attempt=work.attempt,
            queued=clock.at_ms(attempt.queued) / 1000,
            started=clock.at_ms(attempt.started) / 1000,
            finished=clock.now_ms() / 1000,
            outcome=RETURNED if isinstance(outcome, Returned) else RAISED,
            sent=tuple(type_name(one.event) for one in sent[:MOST_SENT]),
        )

    def _left_out(self, what: str, record: Outgoing, reason: Exception) -> None:
        _log.error(what, task=self._parts.name, topic=record.topic, error=repr(reason))


def _is_stale(outcome: Returned, view: View) -> bool:
    return outcome.collected is not None and outcome.collected.is_stale(view)


def _failed(error: BaseException) -> StepFailed:
    # Not isinstance, which asks the exception itself.
    if issubclass(type(error), RecordTooLarge | ContextValueTooLarge):
        return StepFailed(error, Reason.TOO_LARGE)
    if type(error) is CrashesWorker:
        return StepFailed(error, Reason.CRASHES_WORKER, error.deaths)
    return StepFailed(error)
