"""
What became of each run, folded from the records of the `runs` topic.

Pure, and decides as workers do. `fleet.records.effective_end` has the rule for ends. A `resumed`
counts once a `resumption` takes it, and from its own offset on. Records come in the order of their
partition, kinds in any order.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from fleet.records import effective_end, lifecycle, outcomes
from fleet.records import envelope as envelopes
from fleet.records.effective_end import NO_END, SoFar
from fleet.records.envelope import BrokenEnvelope, Envelope
from fleet.records.lifecycle import (
    Cancelled,
    Completed,
    Failed,
    Failure,
    Known,
    Lifecycle,
    Resumed,
    Resumption,
    Started,
    TimedOut,
    UnknownLifecycle,
)
from fleet.records.log import Delivered

RUNNING = outcomes.RUNNING


@dataclass(frozen=True, slots=True)
class End:
    """The effective end of one epoch of a run."""

    outcome: str
    epoch: int
    offset: int
    #: Append time, in unix seconds.
    at: float
    step: str = ""
    #: Id of the event whose step failed.
    event_id: str = ""
    attempt: int = 0
    #: Without its stack: there may be very many ends, and the dead letter has it, too.
    failure: Failure | None = None
    #: The reason of a cancel.
    reason: str = ""
    timeout_seconds: float | None = None
    #: What suspended steps of a run that timed out waited for.
    waiting: tuple[str, ...] = ()
    #: Type of the result event. The value stays in the log.
    result_type: str = ""

    @property
    def why(self) -> str:
        """The reason for the outcome, in one line."""
        if self.failure is not None:
            where = f"{self.step}: " if self.step else ""
            text = " ".join(self.failure.message.split())
            return f"{where}{self.failure.type}{f': {text}' if text else ''}"
        if self.timeout_seconds is not None:
            waiting = f"; waiting: {'; '.join(self.waiting)}" if self.waiting else ""
            return f"after {self.timeout_seconds:g} s{waiting}"
        return self.reason or self.result_type


@dataclass(slots=True)
class Request:
    """A request to resume a run, and its answer."""

    id: str
    epoch: int
    #: -1 if only the answer was read.
    offset: int = -1
    #: Append time, in unix seconds.
    at: float = 0.0
    reason: str = ""
    #: None: no answer. Empty: taken. Else the reason why not.
    refused: str | None = None

    @property
    def is_taken(self) -> bool:
        """Whether it resumed the run."""
        return self.refused == ""


@dataclass(slots=True, eq=False)
class Run:
    """One run, as its records show it."""

    id: str
    partition: int
    #: Append time of `started`, in unix seconds; None if the run ended before its start.
    started_at: float | None = None
    #: None without a time limit.
    timeout_seconds: float | None = None
    #: The workflow and the run whose step awaits it; empty if none does.
    parent_workflow: str = ""
    parent_run: str = ""
    #: Append time of its newest record, in unix seconds.
    at: float = 0.0
    #: How often its start event was repeated.
    repeats: int = 0
    requests: dict[str, Request] = field(default_factory=dict)
    #: Every terminal record in order; `effective_end` says which of them count.
    _terminals: list[End] = field(default_factory=list)
    #: The offset from which records are of this run; from its `started` record.
    _read_from: int = 0

    @property
    def ends(self) -> list[End]:
        """The effective ends, at most one per epoch, the oldest first."""
        found: list[End] = []
        for terminal in self._terminals:
            ended_epoch = found[-1].epoch if found else NO_END
            so_far = SoFar(self._epoch_at(terminal.offset), ended_epoch, self._read_from)
            if effective_end.counts(terminal.epoch, terminal.offset, so_far):
                found.append(terminal)
        return found

    @property
    def end(self) -> End | None:
        """The end of the current epoch: None while the run is running."""
        ends = self.ends
        return ends[-1] if ends and ends[-1].epoch >= self._taken_epoch() else None

    @property
    def epoch(self) -> int:
        """The run's current epoch. A cancel carries it."""
        return max([self._taken_epoch(), *(end.epoch for end in self.ends)])

    @property
    def outcome(self) -> str:
        """`running`, or the kind of its end."""
        end = self.end
        return end.outcome if end else RUNNING

    @property
    def unanswered(self) -> list[Request]:
        """The requests to resume the run without an answer."""
        return [request for request in self.requests.values() if request.refused is None]

    @property
    def taken(self) -> list[Request]:
        """The requests that have resumed the run, the oldest first."""
        found = [request for request in self.requests.values() if request.is_taken]
        return sorted(found, key=lambda request: request.epoch)

    def went_on_since(self, at: float) -> bool:
        """Tell whether the run was resumed at *at*, unix seconds, or later."""
        return any(request.at >= at for request in self.taken)

    def has_reached(self, epoch: int) -> bool:
        """Tell whether a request has resumed the run to *epoch* or a later one."""
        return self._taken_epoch() >= epoch

    def take(self, record: Delivered, envelope: Envelope, happening: Lifecycle) -> None:
        """Take the next record of the run."""
        self.at = max(self.at, record.appended_ms / 1000)
        match happening:
            case Started():
                self._begin(happening, record)
            case Known():
                self.repeats += 1
            case Resumed(reason=reason):
                asked = self._request(envelope.event_id, envelope.epoch)
                asked.offset, asked.at = record.offset, record.appended_ms / 1000
                asked.reason = reason
            case Resumption(request_id=request_id, refused=refused):
                request = self._request(request_id, envelope.epoch)
                if request.refused is None:
                    request.refused = refused
            case _ if happening.terminal:
                self._terminals.append(_end(record, envelope, happening))

    def _begin(self, started: Started, record: Delivered) -> None:
        self._read_from = started.read_from
        # Earlier requests were for a run with the same id that the group has forgotten.
        self.requests = {
            request_id: request
            for request_id, request in self.requests.items()
            if request.offset >= started.read_from
        }
        self.started_at = record.appended_ms / 1000
        self.timeout_seconds = started.timeout_seconds
        self.parent_workflow, self.parent_run = started.parent_workflow, started.parent_run

    def _request(self, request_id: str, epoch: int) -> Request:
        return self.requests.setdefault(request_id, Request(request_id, epoch))

    def _taken_epoch(self) -> int:
        return max((request.epoch for request in self.taken), default=0)

    def _epoch_at(self, offset: int) -> int:
        """Return the run's epoch before *offset*."""
        earlier = (request.epoch for request in self.taken if request.offset < offset)
        return max(earlier, default=0)


class RunLog:
    """The runs of some partitions of `runs`, or *only* those with these ids."""

    def __init__(self, only: Iterable[str] | None = None) -> None:
        self.runs: dict[str, Run] = {}
        self._only = None if only is None else frozenset(only)
        #: Records that this version cannot read.
        self.unreadable = 0

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs.values())

    def get(self, run_id: str) -> Run | None:
        """Return a run; None if the log has no record of it."""
        return self.runs.get(run_id)

    def take(self, record: Delivered) -> None:
        """Take the next record of a partition of `runs`."""
        run_id = (record.key or b"").decode(errors="replace")
        if self._only is not None and run_id not in self._only:
            return
        try:
            envelope = envelopes.parse(record.headers)
            happening = lifecycle.decode(envelope.type, record.value or b"")
        except (BrokenEnvelope, UnknownLifecycle):
            self.unreadable += 1
            return
        run = self.runs.setdefault(envelope.run_id, Run(envelope.run_id, record.partition))
        run.take(record, envelope, happening)


def _end(record: Delivered, envelope: Envelope, terminal: Lifecycle) -> End:
    end = End(terminal.kind, envelope.epoch, record.offset, record.appended_ms / 1000)
    match terminal:
        case Completed(step=step, event_type=event_type):
            return replace(end, step=step, result_type=event_type)
        case Failed(step=step, event_id=event_id, attempt=attempt, failure=failure):
            short = failure.model_copy(update={"stack": "", "args": ()})
            return replace(end, step=step, event_id=event_id, attempt=attempt, failure=short)
        case Cancelled(reason=reason):
            return replace(end, reason=reason)
        case TimedOut(timeout_seconds=seconds, waiting=waiting):
            return replace(end, timeout_seconds=seconds, waiting=waiting)
    return end
