"""Attempts finish: what a step returned or raised goes into the draft, with its history."""

from fleet.config import logs
from fleet.engine.activity import UnhandledLog
from fleet.engine.admission.suspects import CrashesWorker
from fleet.engine.attempts import Attempt
from fleet.engine.log import RecordsRefused
from fleet.engine.open_work import OpenWork
from fleet.engine.parts import Parts
from fleet.engine.transitions import (
    failures,
    journal,
    refused,
    results,
    retries,
    run_history,
    timed,
)
from fleet.engine.transitions.children import awaiting
from fleet.engine.transitions.draft import Draft, Work
from fleet.engine.transitions.failures import StepFailed
from fleet.engine.transitions.outcomes import Outcome, Raised, Returned, Suspends
from fleet.engine.transitions.results import Moment
from fleet.engine.transitions.sizes import RecordTooLarge
from fleet.engine.transitions.timed import Due
from fleet.engine.transitions.waiting import waits
from fleet.records.dead_letter import Reason
from fleet.records.events import type_name
from fleet.records.lifecycle import (
    MOST_SENT,
    RAISED,
    RETRIED,
    RETURNED,
    SUSPENDED,
    StepRecord,
)
from fleet.records.log import Outgoing
from fleet.records.state import View
from fleet.workflow.errors import ContextValueTooLarge
from fleet.workflow.failing.step_failed import StepFailedEvent
from fleet.workflow.suspending import ChildWait, Until
from fleet.workflow.waiting import EventWait

_log = logs.get_logger("task")

#: Errors that another attempt would have, too.
_NEVER_AGAIN = (RecordTooLarge, ContextValueTooLarge, CrashesWorker)


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
        if isinstance(outcome, Raised) and attempt.calls is not None:
            journal.refuse(parts.draft.state, work, attempt.calls.refused_with(outcome.error))
            journal.fail(parts.draft.state, work, attempt.calls.failed)
            awaiting.failed(parts.draft, work, attempt.calls.asked)
        outcome, word = self._take(attempt, outcome)
        step = self._record(attempt, outcome, word)
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
                now_ms = self._parts.clock.now_ms()
                failures.refused(draft, self._parts.wiring, self._parts.ledger, culprit, now_ms)

    def _take(self, attempt: Attempt, outcome: Outcome) -> tuple[Outcome, str]:
        """Bring an outcome into the draft; return it, or the error for which it was refused.

        With it comes the word for its history.
        """
        work = attempt.work
        try:
            if isinstance(outcome, Returned):
                self._bring(work, outcome)
                return outcome, RETURNED
            if isinstance(outcome, Suspends):
                self._suspend(work, outcome.until)
                return outcome, SUSPENDED
        except BaseException as refusal:  # noqa: BLE001 - the boundary: encoding is user code
            outcome = Raised(refusal)
        return self._fail(attempt, outcome.error)

    def _fail(self, attempt: Attempt, error: BaseException) -> tuple[Raised, str]:
        """Take a failure: the step is tried again, or a handler gets it, or its run fails.

        Return it with the word for its history.
        """
        parts, work = self._parts, attempt.work
        try:
            due = self._next_try(attempt, error)
            if due is not None:
                timed.suspend(parts.draft, work, due, round(parts.clock.now_ms()))
                return Raised(error), RETRIED
        except Exception as failure:  # noqa: BLE001 - the boundary: a policy is user code
            self._say_untried(work, error, failure)
        now_ms = parts.clock.now_ms()
        began_ms = (work.tries and work.tries.first_ms) or parts.clock.at_ms(attempt.started)
        failed = _failed(error)._replace(
            elapsed_seconds=(now_ms - began_ms) / 1000, failed_ms=now_ms
        )
        return Raised(error, failures.step_failed(parts.draft, parts.wiring, work, failed)), RAISED

    def _next_try(self, attempt: Attempt, error: BaseException) -> Due | None:
        parts, step = self._parts, attempt.work.step
        policy = step.options.retry_policy or parts.retry_policy
        if policy is None or issubclass(type(error), _NEVER_AGAIN):
            return None
        times = round(parts.clock.at_ms(attempt.started)), round(parts.clock.now_ms())
        return retries.next_try(policy, attempt.work, error, *times)

    def _suspend(self, work: Work, until: Until) -> None:
        parts, now_ms = self._parts, round(self._parts.clock.now_ms())
        if isinstance(until, EventWait):
            waits.begin(parts.draft, parts.wiring, work, until, now_ms)
            return
        if isinstance(until, ChildWait):
            awaiting.begin(parts.draft, work, until, now_ms)
            return
        noted = {journal.key(work, until.call): b"%d" % until.due_ms}
        timed.suspend(parts.draft, work, Due(until.due_ms, work.tries, noted), now_ms)

    def _say_untried(self, work: Work, error: BaseException, failure: Exception) -> None:
        _log.error(
            "step_not_tried_again",
            task=self._parts.name,
            run=work.envelope.run_id,
            step=work.step.name,
            failed_with=type(error).__name__,
            because=repr(failure),
        )

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

    def _record(self, attempt: Attempt, outcome: Outcome, word: str) -> StepRecord:
        work, clock = attempt.work, self._parts.clock
        return StepRecord(
            step=work.step.name,
            group=self._parts.topics.group,
            event_id=work.envelope.event_id,
            event_type=work.envelope.type,
            attempt=work.attempt,
            queued=clock.at_ms(attempt.queued) / 1000,
            started=clock.at_ms(attempt.started) / 1000,
            finished=clock.now_ms() / 1000,
            outcome=word,
            sent=_sent(outcome),
            children=_children(outcome),
        )

    def _left_out(self, what: str, record: Outgoing, reason: Exception) -> None:
        _log.error(what, task=self._parts.name, topic=record.topic, error=repr(reason))


def _sent(outcome: Outcome) -> tuple[str, ...]:
    """Return the types of the events that came of an attempt, at most `MOST_SENT`."""
    if isinstance(outcome, Returned):
        return tuple(type_name(one.event) for one in outcome.sent[:MOST_SENT])
    caught = isinstance(outcome, Raised) and outcome.caught
    return (type_name(StepFailedEvent),) if caught else ()


def _children(outcome: Outcome) -> tuple[str, ...]:
    """Return the runs that an attempt has suspended its step for, at most `MOST_SENT`."""
    if not isinstance(outcome, Suspends) or not isinstance(outcome.until, ChildWait):
        return ()
    return outcome.until.children[:MOST_SENT]


def _is_stale(outcome: Returned, view: View) -> bool:
    return outcome.collected is not None and outcome.collected.is_stale(view)


def _failed(error: BaseException) -> StepFailed:
    # Not isinstance, which asks the exception itself.
    if issubclass(type(error), RecordTooLarge | ContextValueTooLarge):
        return StepFailed(error, Reason.TOO_LARGE)
    if type(error) is CrashesWorker:
        return StepFailed(error, Reason.CRASHES_WORKER, error.deaths)
    return StepFailed(error)
