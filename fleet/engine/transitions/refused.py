"""
What the broker refuses of a commit, and how the rest of it is committed.

A commit holds the results of many steps, and one record that the broker will never take would stop
them all. So a draft knows which records and changes each result has brought. The result with the
culprit is taken out, as if its step had failed; what only tells (history, dead letters) is left out
or cut short.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from fleet.records import state
from fleet.records.dead_letter import Reason
from fleet.records.events import type_name
from fleet.records.lifecycle import RAISED, Failed, StepRecord
from fleet.records.log import Outgoing
from fleet.records.topics import Topics
from fleet.workflow.errors import WorkflowRuntimeError
from fleet.workflow.failing.step_failed import StepFailedEvent

if TYPE_CHECKING:
    from fleet.engine.transitions.draft import Draft, Work
    from fleet.engine.transitions.recoveries import Caught

_ABSENT = b"\0absent"


class ResultRefused(WorkflowRuntimeError):
    """Raised for a step whose result has a record that the broker does not take.

    What to do: Send less, or change the topic: its `max.message.bytes`, its ACLs. Then resume the
    run with `fleet dead redrive`.
    """

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(
            f"the broker refuses what the step sends or keeps, in {topic}: {reason}; send less, or "
            "let the topic take it (its max.message.bytes, its ACLs)"
        )


class Unexpendable(WorkflowRuntimeError):
    """Raised when the broker refuses a record without which nothing can be committed.

    What to do: Let the topic take the record: its `max.message.bytes`, its ACLs.
    """

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(
            f"the broker refuses a record of the engine itself, in {topic}: {reason}; let the "
            "topic take it (its max.message.bytes, its ACLs)"
        )


@dataclass(eq=False, slots=True)
class Result:
    """What one attempt has brought into a draft."""

    work: "Work"
    records: list[Outgoing]
    changes: Mapping[bytes, bytes | None]
    #: What the draft had of the same keys before.
    before: dict[bytes, bytes | None] = field(default_factory=dict)
    #: Its history record.
    history: Outgoing | None = None
    #: Which commit of its own the running step waits for; empty: it is what the attempt returned.
    call: str = ""
    #: Not None if the attempt failed: the handler that takes it.
    caught: "Caught | None" = None


class Culprit(NamedTuple):
    """A result that was taken out, and why."""

    work: "Work"
    error: ResultRefused
    reason: Reason
    #: Which commit of its own the running step waits for; empty: the step has ended.
    call: str = ""
    #: Not None if it was the event for a handler: the failure that the handler would have got.
    caught: "Caught | None" = None
    #: Says in the draft that the attempt failed; None if the step has not ended.
    history: Outgoing | None = None


def add(draft: "Draft", result: Result) -> None:
    """Bring a result into a draft."""
    changes = draft.state.changes
    result.before = {key: changes.get(key, _ABSENT) for key in result.changes}
    changes.update(result.changes)
    draft.records.extend(result.records)
    draft.results.append(result)


def take_out(
    draft: "Draft",
    topics: Topics,
    refused: Sequence[tuple[Outgoing, Exception]],
    note: Callable[[str, Outgoing, Exception], object],
) -> list[Culprit]:
    """Take out of a sealed draft what the broker refuses; return the results that went with it.

    *note* hears of each record that is only left out. Raises Unexpendable for one that can not be.
    """
    culprits = []
    # Several records of one result may be refused: it is taken out with the first of them.
    results = list(draft.results)
    for record, reason in refused:
        result = _whose(results, topics, record)
        if result is not None:
            if result in draft.results:
                history = _remove(draft, result)
                error = ResultRefused(record.topic, repr(reason))
                word, left = _word(reason), (result.call, result.caught, history)
                culprits.append(Culprit(result.work, error, word, *left))
        elif not _shorten(draft, topics, record):
            if not _leave_out(draft, topics, record):
                raise Unexpendable(record.topic, repr(reason))
            note("record_left_out", record, reason)
    return culprits


def _whose(results: Sequence[Result], topics: Topics, refused: Outgoing) -> Result | None:
    if refused.topic == topics.state:
        # The last one that has set it: its value is what was to be written.
        having = (result for result in reversed(results) if refused.key in result.changes)
        return next(having, None)
    return next((one for one in results if any(own is refused for own in one.records)), None)


def note_caught(draft: "Draft", culprit: Culprit) -> None:
    """Let the history of a culprit say that a handler gets its failure."""
    for place, record in enumerate(draft.records):
        if record is culprit.history:
            step = StepRecord.decode(record.value or b"")
            caught = step.model_copy(update={"sent": (type_name(StepFailedEvent),)})
            draft.records[place] = record._replace(value=caught.encode())


def _remove(draft: "Draft", result: Result) -> Outgoing | None:
    """Remove a result; return what says in its place that its attempt failed."""
    gone = {id(record) for record in result.records} | {id(result.history)}
    draft.records = [record for record in draft.records if id(record) not in gone]
    history = _failed_attempt(result.history) if result.history is not None else None
    if history is not None:
        draft.records.append(history)
    later = draft.results[draft.results.index(result) + 1 :]
    for key in result.changes:
        _restore(draft, result, key, later)
    draft.results.remove(result)
    return history


def _restore(draft: "Draft", result: Result, key: bytes, later: Sequence[Result]) -> None:
    """Let *key* be in the draft what it would be without the result."""
    if key.startswith(state.BUFFER_HEAD):
        # It counts events that went with the result: it is counted again when it is read.
        draft.state.changes[key] = None
        return
    for following in later:
        if key in following.before:
            following.before[key] = result.before[key]
            return
    run_key = state.run_key(result.work.envelope.run_id)
    value, changes = result.changes[key], draft.state.changes
    is_over = value is None and changes.get(run_key, _ABSENT) is None
    if changes[key] is not value or is_over:
        # It was overwritten since, or everything of the run was removed.
        return
    if result.before[key] is _ABSENT:
        del changes[key]
    else:
        changes[key] = result.before[key]


def _failed_attempt(history: Outgoing) -> Outgoing:
    step = StepRecord.decode(history.value or b"")
    failed = step.model_copy(update={"outcome": RAISED, "sent": ()})
    return history._replace(value=failed.encode())


def _shorten(draft: "Draft", topics: Topics, refused: Outgoing) -> bool:
    """Replace a record of the engine by a shorter one; tell whether there is any."""
    shorter: Outgoing | None = None
    if refused.topic == topics.dead and (refused.value or len(refused.headers) > 1):
        shorter = Outgoing(refused.topic, refused.key, b"", refused.headers[-1:])
    elif refused.topic == topics.runs and _kind(refused) == Failed.kind.encode():
        shorter = _without_stack(refused)
    if shorter is None:
        return False
    draft.records = [shorter if record is refused else record for record in draft.records]
    return True


def _without_stack(refused: Outgoing) -> Outgoing | None:
    failed = Failed.model_validate_json(refused.value or b"")
    if not failed.failure.stack and not failed.failure.args:
        return None
    message = failed.failure.message[:200]
    short = failed.failure.model_copy(update={"stack": "", "args": (), "message": message})
    return refused._replace(value=failed.model_copy(update={"failure": short}).encode())


def _leave_out(draft: "Draft", topics: Topics, refused: Outgoing) -> bool:
    """Leave out what the promise does not need; tell whether it is such a record.

    A record for a run that a step awaits, or for its parent, is one: the run has its time limit.
    """
    if refused.topic in (topics.history, topics.dead) or refused.partition is not None:
        draft.records = [record for record in draft.records if record is not refused]
        return True
    expendable = refused.key.startswith(state.AWAITING_RESUME) or state.is_set_aside(refused.key)
    if refused.topic == topics.state and expendable:
        del draft.state.changes[refused.key]
        return True
    return False


def _kind(record: Outgoing) -> bytes:
    return dict(record.headers).get("fleet-type", b"")


def _word(reason: Exception) -> Reason:
    """Return the dead letter's reason."""
    large = type(reason).__name__ in ("MessageSizeTooLargeError", "RecordListTooLargeError")
    return Reason.TOO_LARGE if large else Reason.REFUSED
