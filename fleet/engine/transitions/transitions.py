"""
What each thing that happens to a group changes: state, records to append, steps to stop.

Pure, and the same for every runtime: a transition reads state and adds to a draft; somebody else
commits the draft. Nothing here waits, reads a clock or knows Kafka.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic_core import from_json

from fleet.engine.transitions import outcomes, parked, refused, runs, sizes
from fleet.engine.transitions.outcomes import Raised, Returned, Sent
from fleet.engine.transitions.parked import Parked
from fleet.engine.transitions.refused import Culprit, Result
from fleet.engine.transitions.runs import Admission, End, Place, Run
from fleet.records import state
from fleet.records.dead_letter import HEADER, DeadLetter, Reason
from fleet.records.envelope import MAX_ID_BYTES, MAX_TIMEOUT_SECONDS, Envelope, child_id
from fleet.records.events import Event, encoded, type_name
from fleet.records.lifecycle import (
    Completed,
    Failed,
    Lifecycle,
    Resumed,
    Resumption,
    Started,
    StepRecord,
    TimedOut,
)
from fleet.records.log import Delivered, Outgoing
from fleet.records.state import Overlay, View
from fleet.records.topics import Topics
from fleet.workflow import store
from fleet.workflow.errors import UnroutableEvent
from fleet.workflow.graph import Graph
from fleet.workflow.steps import Step

_CANONICAL = json.JSONEncoder(sort_keys=True)
#: What a record takes besides its value, about, in bytes: key, headers, objects.
_RECORD_BYTES = 1_000


class Work(NamedTuple):
    """One step to be run for one event."""

    record: Delivered
    envelope: Envelope
    event: Event
    step: Step
    #: Key of its entry where it is parked work; empty where the event is open in its topic.
    parked: bytes = b""


@dataclass
class Draft:
    """What the next commit holds."""

    state: Overlay
    records: list[Outgoing] = field(default_factory=list)
    #: How many steps have ended with it.
    steps: int = 0
    #: What became a dead letter, with the id of its run, or what stands in its place.
    letters: list[tuple[str, DeadLetter]] = field(default_factory=list)
    #: What attempts have returned, in order.
    results: list[Result] = field(default_factory=list)
    #: Of how many of the records the size is known, and what it is, in bytes.
    _measured: int = 0
    _size: int = 0

    def measure(self) -> int:
        """Return about how large it is, in bytes; looks only at what is new."""
        for record in self.records[self._measured :]:
            self._size += _RECORD_BYTES + len(record.value or b"")
        self._measured = len(self.records)
        return self._size + self.state.written


@dataclass(frozen=True, slots=True)
class Ended:
    """A run has ended: its steps in flight are to be stopped."""

    run_id: str
    outcome: str
    #: Broker time since its first event.
    seconds: float


@dataclass(frozen=True, slots=True)
class Due:
    """A run has a deadline, in unix milliseconds of broker time."""

    run_id: str
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class GoesOn:
    """A run was resumed: its parked work is to be run."""

    run_id: str
    #: 0 where the run has none.
    deadline_ms: int
    #: With the keys of their entries.
    parked: list[tuple[bytes, Parked]]


@dataclass(frozen=True)
class Transitions:
    """The transitions of one step group."""

    graph: Graph
    topics: Topics

    def admit(self, view: View, envelope: Envelope) -> Admission:
        """Decide what becomes of an event that was delivered."""
        return runs.admit(self._end(view, envelope.run_id), envelope.epoch)

    def start(
        self, draft: Draft, record: Delivered, envelope: Envelope, runs_position: int
    ) -> Admission:
        """Begin the run of a start event; return what becomes of the event."""
        run_id = envelope.run_id
        start = runs.Start(
            event_id=envelope.event_id,
            offset=record.offset,
            fingerprint=_fingerprint(record.value),
            timeout_seconds=envelope.timeout_seconds,
            appended_ms=record.appended_ms,
        )
        found = self._run(draft.state, run_id), self._end(draft.state, run_id)
        match runs.begin(*found, start, runs_position):
            case runs.Begun(run=run, record=started):
                draft.state.put(state.run_key(run_id), run.encode())
                self._clear_seen(draft, run_id)
                self._append(draft, envelope, started)
                return Admission.RUN
            case runs.Repeated(answer=known):
                epoch = max(each.epoch for each in found if each is not None)
                self._append(draft, envelope._replace(epoch=epoch), known)
                return Admission.DROP
            case runs.Redelivered():
                return runs.admit(found[1], envelope.epoch)

    def attach(self, draft: Draft, record: Delivered, envelope: Envelope) -> Envelope:
        """Return the envelope of an event of a run, as `raise_epoch` does.

        Of a run of which another event came before its start is kept that it was seen.
        """
        value = draft.state.get(state.run_key(envelope.run_id))
        if value is not None:
            return _with_epoch(envelope, Run.decode(value))
        self._mark_seen(draft, record, envelope)
        return envelope

    def raise_epoch(self, view: View, envelope: Envelope) -> Envelope:
        """Return the envelope of an event with the epoch that its run has come to since."""
        return _with_epoch(envelope, self._run(view, envelope.run_id))

    def _mark_seen(self, draft: Draft, record: Delivered, envelope: Envelope) -> None:
        key = state.seen_key(envelope.run_id)
        value = draft.state.get(key)
        if envelope.context and value is None:
            store.begin(draft.state, envelope.context, state.context_prefix(envelope.run_id))
        # Something of it may be held.
        seen = Run.decode(value) if value is not None else Run()
        update = {"seen_ms": record.appended_ms, "epoch": envelope.epoch}
        draft.state.put(key, seen.model_copy(update=update).encode())

    def freeze(self, draft: Draft, work: Work) -> None:
        """Keep a step of a run that ended without a result, for when it is resumed."""
        size = self._keep(draft, work.record, work.envelope, work.step.name)
        if size > sizes.MAX_RECORD_BYTES:
            self._dead_letter_frozen(draft, work, size)

    def hold(
        self, draft: Draft, record: Delivered, envelope: Envelope, *, frozen: bool = False
    ) -> None:
        """Keep an event for a version of the workflow that has a step for it; frozen with its run.

        One that `join` has returned the envelope of, where its run goes on.
        """
        value = parked.held(record, envelope.step, envelope.epoch, frozen=frozen)
        if len(value) > sizes.MAX_RECORD_BYTES:
            error = sizes.RecordTooLarge(f"{envelope.type}, which no step takes yet,", len(value))
            failure = outcomes.describe(error)
            failed = Failed(step="", event_id=envelope.event_id, attempt=0, failure=failure)
            self._dead_letter(draft, record, Reason.TOO_LARGE, failed)
            return
        key = state.frozen_key if frozen else state.parked_key
        draft.state.put(key(envelope.run_id, envelope.event_id, envelope.step), value)
        if not frozen:
            self._note_held(draft, envelope.run_id)

    def _note_held(self, draft: Draft, run_id: str) -> None:
        for key in (state.run_key(run_id), state.seen_key(run_id)):
            value = draft.state.get(key)
            if value is not None:
                held = Run.decode(value).model_copy(update={"held": True})
                draft.state.put(key, held.encode())
                return

    def returned(self, draft: Draft, work: Work, outcome: Returned) -> None:
        """Take a step's result; raises WorkflowRuntimeError where it cannot be taken."""
        run = f"the context of run {work.envelope.run_id}"
        records = [self._routed(work, index, sent) for index, sent in enumerate(outcome.sent)]
        changes_size = sizes.check_changes(run, outcome.changes)
        sizes.check_result(f"what step {work.step.name} sends and keeps", records, changes_size)
        part = Overlay(draft.state)
        store.apply(part, outcome.changes, state.context_prefix(work.envelope.run_id))
        # From here on nothing can be refused, so the draft has all of the result or nothing.
        refused.add(draft, Result(work, records, part.changes))
        draft.state.written += part.written

    def raised(
        self,
        draft: Draft,
        work: Work,
        outcome: Raised,
        attempt: int,
        reason: Reason = Reason.FAILED,
    ) -> None:
        """Take a step's failure: a dead letter, and the run fails with the original error.

        The step waits for the run to be resumed.
        """
        failed = Failed(
            step=work.step.name,
            event_id=work.envelope.event_id,
            attempt=attempt,
            failure=outcomes.describe(outcome.error),
        )
        self._dead_letter(draft, work.record, reason, failed)
        self._append(draft, work.envelope, failed)
        self._keep(draft, work.record, work.envelope, work.step.name)

    def reject(
        self,
        draft: Draft,
        record: Delivered,
        envelope: Envelope | None,
        reason: Reason,
        error: BaseException,
    ) -> None:
        """Bury a record that cannot be processed; its run, where it has one, fails.

        The record waits for the run to be resumed.
        """
        event_id = envelope.event_id if envelope else ""
        failed = Failed(step="", event_id=event_id, attempt=0, failure=outcomes.describe(error))
        self._dead_letter(draft, record, reason, failed)
        if envelope is None:
            return
        admission = self.admit(draft.state, envelope)
        if admission is Admission.RUN:
            self._append(draft, self.raise_epoch(draft.state, envelope), failed)
        if admission is not Admission.DROP:
            self._keep(draft, record, envelope, "")

    def note(self, draft: Draft, work: Work, step: StepRecord) -> None:
        """Write an attempt into the workflow's history."""
        envelope = work.envelope
        headers = Envelope(
            run_id=envelope.run_id,
            event_id=envelope.event_id,
            type=StepRecord.kind,
            epoch=envelope.epoch,
            parent_id=envelope.parent_id,
        ).headers()
        record = Outgoing(self.topics.history, envelope.run_id.encode(), step.encode(), headers)
        draft.records.append(record)
        if draft.results and draft.results[-1].work is work:
            draft.results[-1].history = record

    def refused(self, draft: Draft, view: View, culprit: Culprit) -> None:
        """Let an attempt fail whose result the broker has refused, in the commit it was in.

        *view* tells what its run has come to since.
        """
        work = culprit.work._replace(envelope=self.raise_epoch(view, culprit.work.envelope))
        self.raised(draft, work, Raised(culprit.error), attempt=1, reason=culprit.reason)

    def on_lifecycle_record(
        self, draft: Draft, record: Delivered, envelope: Envelope, happening: Lifecycle
    ) -> Ended | Due | GoesOn | None:
        """Take a record of the `runs` topic: only here does a run end, or go on after its end."""
        if isinstance(happening, Started):
            return self._set_deadline(draft, record, envelope, happening)
        if isinstance(happening, Resumed):
            return self._resume(draft, record, envelope)
        if happening.terminal:
            return self._conclude(draft, record, envelope, happening)
        return None

    def complete(self, draft: Draft, record: Delivered, envelope: Envelope) -> None:
        """Write a result of an older epoch for the one that the run has come to."""
        headers = parked.with_epoch(record.headers, self.raise_epoch(draft.state, envelope).epoch)
        draft.records.append(Outgoing(self.topics.runs, record.key or b"", record.value, headers))

    def timed_out(self, draft: Draft, run_id: str, active_steps: Iterable[str]) -> None:
        """Write that a run's deadline has passed, unless it ended before."""
        run = self._run(draft.state, run_id)
        if run is None or self._end(draft.state, run_id) is not None:
            return
        envelope = Envelope(
            run_id=run_id, event_id=run.start_event_id, type=TimedOut.kind, epoch=run.epoch
        )
        happening = TimedOut(
            timeout_seconds=min(run.timeout_seconds or 0, MAX_TIMEOUT_SECONDS),
            active_steps=tuple(sorted(active_steps)),
        )
        self._append(draft, envelope, happening)

    def forget(self, draft: Draft, run_id: str, *, frozen: bool) -> None:
        """Remove everything that is kept of an ended run: its end, and what is *frozen* with it."""
        if frozen:
            self._remove(draft, run_id)
        draft.state.delete(state.end_key(run_id))

    def forget_unstarted(self, draft: Draft, run_id: str) -> None:
        """Remove everything that is kept of a run whose start never came."""
        draft.state.delete_all(state.parked_prefix(run_id))
        self._remove(draft, run_id)

    def deadlines(self, view: View) -> list[Due]:
        """Return the deadlines of the runs that go on."""
        found = ((key, Run.decode(value)) for key, value in view.items(state.RUN))
        return [
            Due(key[len(state.RUN) :].decode(), run.deadline_ms)
            for key, run in found
            if run.deadline_ms and view.get(state.END + key[len(state.RUN) :]) is None
        ]

    def _set_deadline(
        self, draft: Draft, record: Delivered, envelope: Envelope, started: Started
    ) -> Due | None:
        run = self._run(draft.state, envelope.run_id)
        dated = runs.with_deadline(run, started, record.appended_ms) if run else None
        if dated is None or self._end(draft.state, envelope.run_id) is not None:
            return None
        draft.state.put(state.run_key(envelope.run_id), dated.encode())
        return Due(envelope.run_id, dated.deadline_ms)

    def _resume(self, draft: Draft, record: Delivered, request: Envelope) -> GoesOn | None:
        run_id, epoch = request.run_id, request.epoch
        run, end = self._run(draft.state, run_id), self._end(draft.state, run_id)
        refused = runs.refusal(run, end, epoch)
        self._append(draft, request, Resumption(request_id=request.event_id, refused=refused))
        if run is None or refused:
            return None
        goes_on = runs.resumed(run, epoch, record.appended_ms)
        draft.state.put(state.run_key(run_id), goes_on.encode())
        draft.state.delete(state.end_key(run_id))
        work = parked.thaw(draft.state, run_id, epoch, record.appended_ms)
        return GoesOn(run_id, goes_on.deadline_ms, work)

    def _conclude(
        self, draft: Draft, record: Delivered, envelope: Envelope, terminal: Lifecycle
    ) -> Ended | None:
        run_id = envelope.run_id
        run, before = self._run(draft.state, run_id), self._end(draft.state, run_id)
        place = Place(envelope.epoch, record.offset, record.appended_ms)
        end = runs.conclude(run, before, terminal, place)
        if end is None:
            if isinstance(terminal, Completed):
                self._take_late(draft, record, envelope, before)
            return None
        draft.state.put(state.end_key(run_id), end.encode())
        if end.epoch or (run is not None and run.held):
            parked.freeze(draft.state, run_id)
        if end.frozen:
            self._clear_seen(draft, run_id)
        else:
            self._remove(draft, run_id)
        seen_ms = run.seen_ms if run is not None else end.ended_ms
        return Ended(run_id, end.outcome, (end.ended_ms - seen_ms) / 1000)

    def _take_late(
        self, draft: Draft, record: Delivered, envelope: Envelope, end: End | None
    ) -> None:
        """Let a result that came after the end of its epoch count for the next one."""
        if end is None:
            self.complete(draft, record, envelope)
        elif end.frozen:
            self._keep(draft, record, envelope, "")

    def _clear_seen(self, draft: Draft, run_id: str) -> None:
        if draft.state.get(state.seen_key(run_id)) is not None:
            draft.state.delete(state.seen_key(run_id))

    def _remove(self, draft: Draft, run_id: str) -> None:
        if draft.state.get(state.run_key(run_id)) is not None:
            draft.state.delete(state.run_key(run_id))
        self._clear_seen(draft, run_id)
        draft.state.delete_all(state.context_prefix(run_id))
        draft.state.delete_all(state.frozen_prefix(run_id))

    def _routed(self, work: Work, index: int, sent: Sent) -> Outgoing:
        envelope = work.envelope
        value = sent.value or encoded(sent.event, self.graph.result)
        name = type_name(sent.event)
        event_id = child_id(envelope.event_id, work.step.name, index)
        if self.graph.is_result(sent.event):
            result = Completed(step=work.step.name, event_type=name, event=value.decode())
            return sizes.checked(self._lifecycle(envelope, event_id, result), name)
        if not self._accepts(sent):
            raise UnroutableEvent(work.step.name, name, sent.step)
        child = Envelope(
            run_id=envelope.run_id,
            event_id=event_id,
            type=name,
            epoch=envelope.epoch,
            parent_id=envelope.event_id,
            step=sent.step or "",
            replays=envelope.replays,
            traceparent=envelope.traceparent,
        )
        key = envelope.run_id.encode()
        record = Outgoing(self.topics.event(name), key, value, child.headers())
        return sizes.checked(record, name)

    def _accepts(self, sent: Sent) -> bool:
        accepting = self.graph.accepting.get(type_name(sent.event), ())
        return any(sent.step in (None, step.name) for step in accepting)

    def _append(self, draft: Draft, envelope: Envelope, happening: Lifecycle) -> None:
        draft.records.append(self._lifecycle(envelope, envelope.event_id, happening))

    def _lifecycle(self, envelope: Envelope, event_id: str, happening: Lifecycle) -> Outgoing:
        headers = Envelope(
            run_id=envelope.run_id,
            event_id=event_id,
            type=happening.kind,
            epoch=envelope.epoch,
            traceparent=envelope.traceparent,
        ).headers()
        return Outgoing(self.topics.runs, envelope.run_id.encode(), happening.encode(), headers)

    def _keep(self, draft: Draft, record: Delivered, envelope: Envelope, step: str) -> int:
        """Freeze a step, or any step where it is empty; return the entry's size, in bytes."""
        value = parked.frozen(record, step)
        if len(value) <= sizes.MAX_RECORD_BYTES:
            key = state.frozen_key(envelope.run_id, envelope.event_id, step)
            draft.state.put(key, value)
        return len(value)

    def _dead_letter_frozen(self, draft: Draft, work: Work, size: int) -> None:
        kept = f"{work.envelope.type}, kept for when its run is resumed,"
        error = sizes.RecordTooLarge(kept, size)
        failed = Failed(
            step=work.step.name,
            event_id=work.envelope.event_id,
            attempt=0,
            failure=outcomes.describe(error),
        )
        self._dead_letter(draft, work.record, Reason.TOO_LARGE, failed)

    def _dead_letter(self, draft: Draft, record: Delivered, reason: Reason, failed: Failed) -> None:
        letter = DeadLetter(
            reason=reason,
            step=failed.step,
            attempts=failed.attempt,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            failure=failed.failure,
        )
        draft.letters.append(((record.key or b"").decode(errors="replace"), letter))
        draft.records.append(_buried(self.topics.dead, record, letter.encode()))

    def _run(self, view: View, run_id: str) -> Run | None:
        value = view.get(state.run_key(run_id)) or view.get(state.seen_key(run_id))
        return Run.decode(value) if value is not None else None

    def _end(self, view: View, run_id: str) -> End | None:
        value = view.get(state.end_key(run_id))
        return End.decode(value) if value is not None else None


def _with_epoch(envelope: Envelope, run: Run | None) -> Envelope:
    if run is None or run.epoch <= envelope.epoch:
        return envelope
    return envelope._replace(epoch=run.epoch)


def _buried(topic: str, record: Delivered, note: bytes) -> Outgoing:
    """Return a dead letter with as much of the original as fits; the note says where it is."""
    key, value = record.key or b"", record.value or b""
    for parts in ((key, value, record.headers), (key, b"", record.headers)):
        buried = Outgoing(topic, parts[0], parts[1], [*parts[2], (HEADER, note)])
        if sizes.size(buried) <= sizes.MAX_RECORD_BYTES:
            return buried
    key = key if len(key) <= MAX_ID_BYTES else b""
    return Outgoing(topic, key, b"", [(HEADER, note)])


def _fingerprint(value: bytes | None) -> str:
    """Return a digest of a start event, the same for any order of its fields."""
    try:
        plain = _CANONICAL.encode(from_json(value or b"")).encode()
    except ValueError:
        plain = value or b""
    return hashlib.blake2b(plain, digest_size=16).hexdigest()
