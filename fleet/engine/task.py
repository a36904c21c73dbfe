"""
A task: one partition of one step group.

It owns the partition's state, its log and its steps in flight. Records come in through `deliver`,
decisions go into the ledger's open draft at once, and one loop commits what was decided. When its
log is lost the task is: it stops its steps, commits nothing more, and somebody else goes on from
the changelog.
"""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from fleet.config import logs, settings
from fleet.engine import ends_index
from fleet.engine.budget import Budgets
from fleet.engine.clock import BrokerClock
from fleet.engine.commits import Commits, Committed
from fleet.engine.deadlines import Deadlines
from fleet.engine.flights import Flight, Flights, Outcome, StreamWriter
from fleet.engine.inputs import Inputs
from fleet.engine.ledger import Ledger, StateStore
from fleet.engine.log import Log, RecordsRefused, TaskLost
from fleet.engine.observing import Guarded, Observer
from fleet.engine.offsets import Delivery, Lost
from fleet.engine.other_versions import OtherVersions
from fleet.engine.ownership import OwnershipCheck
from fleet.engine.retention import Retention
from fleet.engine.slots import Slots
from fleet.engine.suspects import CrashesWorker, Quarantine, Suspects
from fleet.engine.transitions import refused
from fleet.engine.transitions.outcomes import Raised, Returned
from fleet.engine.transitions.parked import Parked
from fleet.engine.transitions.runs import Admission
from fleet.engine.transitions.sizes import RecordTooLarge
from fleet.engine.transitions.transitions import Draft, Due, Ended, GoesOn, Transitions, Work
from fleet.engine.uncommitted import Uncommitted
from fleet.records import envelope as envelopes
from fleet.records import lifecycle, state
from fleet.records.dead_letter import Reason
from fleet.records.envelope import BrokenEnvelope, Envelope
from fleet.records.events import decoded, type_name
from fleet.records.lifecycle import StepRecord
from fleet.records.log import Delivered, Outgoing
from fleet.records.partitions import misplaced
from fleet.records.topics import Topics
from fleet.workflow.errors import WorkflowRuntimeError
from fleet.workflow.graph import Graph
from fleet.workflow.steps import Step

_log = logs.get_logger("task")

#: Delivered and not done, per input topic, before a task takes no more of it.
WINDOW_RECORDS = 10_000
#: How many of the events that a step sent its history record names.
_SENT_NAMES = 100
#: Longer than what happens between two lines of one turn of the loop, in milliseconds.
_TURN_MS = 100.0
#: A broker's clock that is corrected by more was set back, in milliseconds.
_SET_BACK_MS = 1_000.0


@dataclass(frozen=True, slots=True)
class StepGroupSettings:
    """What every task of a step group shares."""

    graph: Graph
    topics: Topics
    #: Gives the object whose methods the steps are.
    workflow: Callable[[], object]
    slots: Slots
    stream: StreamWriter
    observer: Observer
    dedupe_days: float
    resume_days: float
    budgets: Budgets = field(default_factory=lambda: Budgets.of(settings.WINDOW_BYTES))
    #: In memory nobody else can own a partition.
    ownership: OwnershipCheck = field(
        default_factory=lambda: OwnershipCheck(math.inf, time.monotonic)
    )
    #: In memory a state does not outlive its process.
    quarantine: Quarantine = field(default_factory=Quarantine)
    #: How many partitions each topic has.
    partitions: Callable[[], int] = lambda: 1
    #: How many ended runs of each kind are remembered, however young they are; 0: all of them.
    most_ended: int = 0
    #: Whether what is appended is delivered in the next turn of the loop, as in memory.
    reads_at_once: bool = False
    #: Hears of each ended run of which nothing is known any more.
    forgotten: Callable[[str], object] = lambda _run_id: None
    #: A local clock that nobody sets, in seconds.
    monotonic: Callable[[], float] = time.monotonic

    @property
    def inputs(self) -> list[str]:
        """Names of the topics that the group reads."""
        return self.topics.consumed(self.graph.accepting)


class Task:
    """Runs the steps of one partition and commits what they give."""

    def __init__(
        self,
        step_group: StepGroupSettings,
        partition: int,
        log: Log,
        store: StateStore,
        lost: Callable[["Task", BaseException], None],
    ) -> None:
        self.step_group = step_group
        self.partition = partition
        self.ledger = Ledger(store)
        self.clock = BrokerClock(step_group.monotonic, step_group.topics.runs)
        self.inputs = Inputs(self.ledger, step_group.budgets.window.account())
        self.uncommitted = Uncommitted(self.ledger, step_group.budgets)
        self.trackers = self.inputs.trackers
        self.flights = Flights(
            step_group.workflow, step_group.slots, step_group.stream, self.ledger, owner=self
        )
        self.commits = Commits(log, self.ledger, self._positions, self._committed, self._refused)
        self._suspects = Suspects(step_group.quarantine, self.ledger, self.commits.now)
        self._log = log
        self._observer = Guarded(step_group.observer)
        self._transitions = Transitions(step_group.graph, step_group.topics)
        self._others = OtherVersions(step_group.graph, step_group.topics)
        self._start_topic = step_group.topics.event(type_name(step_group.graph.start))
        self._lost = lost
        self._deadlines = Deadlines(self.clock, self._time_out)
        self._loops: list[asyncio.Task[None]] = []
        self._retention = Retention(
            self.ledger, self, step_group.dedupe_days, step_group.resume_days, step_group.most_ended
        )
        self._alive = True
        self._taking = False

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    @property
    def name(self) -> str:
        """The engine id and the partition."""
        return f"{self.step_group.topics.engine_id}-{self.partition}"

    @property
    def alive(self) -> bool:
        """Whether the task may still commit."""
        return self._alive

    @property
    def taking(self) -> bool:
        """Whether the task is loaded and takes records."""
        return self._taking

    def takes(self, topic: str) -> bool:
        """Whether more records of *topic* are wanted now."""
        if not self._taking or self.uncommitted.full:
            return False
        # Nothing of `runs` stays open, and steps may wait for what it says.
        if topic != self.step_group.topics.runs and self.inputs.window.full:
            return False
        tracker = self.trackers.get(topic)
        return tracker is None or tracker.pending < WINDOW_RECORDS

    @property
    def held_back(self) -> bool:
        """Whether no step may begin before a commit got through."""
        return self.uncommitted.full

    # -- life ---------------------------------------------------------------------------------

    def restore(self) -> None:
        """Read positions and deadlines from the loaded state."""
        self.inputs.restore(self.step_group.inputs)
        self._suspects.restore()
        for due in self._transitions.deadlines(self.ledger):
            self._deadlines.restore(due.run_id, due.deadline_ms)

    def begin(self) -> None:
        """Take records, run steps, commit."""
        self._taking = True
        self._loops = [
            asyncio.create_task(self._supervised(self.commits.run), name=f"commits {self.name}"),
            asyncio.create_task(
                self._supervised(self._retention.run), name=f"retention {self.name}"
            ),
        ]
        self._deadlines.start()
        self._suspects.begin()
        for key, value in list(self.ledger.items(state.PARKED)):
            # What one of them was may have ended the run of another.
            if self.ledger.get(key) is not None:
                self._take_up(key, Parked.decode(value))
        # What loading has found out, also where no record ever comes.
        self.commits.later()

    async def ask_time(self) -> int:
        """Return the broker's time, in unix milliseconds, of an append of ours; raises TaskLost.

        What is appended changes nothing: it deletes what is not there.
        """
        began = self.step_group.monotonic()
        receipt = await self._log.commit([], {state.NOTHING: None})
        self.clock.observe(receipt.times, self.step_group.monotonic() - began)
        return receipt.appended_ms

    async def drain(self, seconds: float) -> None:
        """Take nothing new, let running steps finish within *seconds*, commit what finished."""
        self._taking = False
        self._deadlines.stop()
        self.flights.ground()
        await self.settle(seconds)

    async def settle(self, seconds: float) -> None:
        """Let running steps finish within *seconds* and commit, whoever owns the task then."""
        await self.flights.wait(seconds)
        self._suspects.unmark()
        await self.commits.finish()

    async def sure(self) -> None:
        """Return once nobody else can have had this partition, for all we know."""
        await self.step_group.ownership.until_confirmed()

    async def confirm(self) -> None:
        """Commit, so that a task whose partition somebody else has had meanwhile learns it."""
        if self._taking:
            self.trackers[self.step_group.topics.runs].dirty = True
            self._suspects.mark()
            await self.commits.finish()

    async def close(self) -> None:
        """Stop everything; what was not committed runs again where the partition is next."""
        self._alive = self._taking = False
        self.flights.stop()
        self._deadlines.stop()
        self._hold_nothing()
        for loop in self._loops:
            loop.cancel()
        try:
            await asyncio.gather(*self._loops, return_exceptions=True)
            await self._log.close()
        finally:
            # Whatever happens there: the folder is wanted by whoever comes next.
            self.ledger.store.close()

    # -- records come in ----------------------------------------------------------------------

    def deliver(self, record: Delivered) -> None:
        """Take one record; each is delivered in the order of its partition, without gaps."""
        self.clock.has_been(record.appended_ms)
        delivery = self.inputs.deliver(record)
        if delivery is Delivery.KNOWN:
            return
        found = self._read_envelope(record)
        if found is None:
            self._done(record)
        elif record.topic == self.step_group.topics.runs:
            self._happen(record, found)
        else:
            done = self.inputs.marked(record) if delivery is Delivery.AGAIN else frozenset[str]()
            self._route(record, found, done)

    def reaches(self, topic: str, position: int, end: int, begin: int = 0) -> None:
        """Note how far *topic* is read now, and where it begins and ends: all as offsets.

        Everything below *position* was delivered: nothing that was read is on its way.
        """
        self._note_lost(topic, self.inputs.passed(topic, position, begin))
        if self.trackers[topic].dirty:
            self.commits.later()
        if self.clock.known:
            # By a time that is guessed an age would be what the clock is corrected by.
            self.inputs.reaches(topic, end - position, self.clock.now_ms())

    def cut(self, topic: str, begin: int) -> None:
        """Let go of what *topic*, which begins at *begin*, does not have any more."""
        self._note_lost(topic, self.inputs.cut(topic, begin))

    def skipped(self, topic: str, begin: int) -> None:
        """Hear where *topic* begins, which was asked for: what was skipped below that is lost."""
        self._note_lost(topic, self.trackers[topic].skipped(begin))
        if self.trackers[topic].dirty:
            self.commits.later()

    def _note_lost(self, topic: str, lost: Lost | None) -> None:
        if lost is not None:
            self._observer.records_lost(topic, self.partition, lost)
            self.commits.later()

    def _read_envelope(self, record: Delivered) -> Envelope | None:
        try:
            envelope = envelopes.parse(record.headers)
            wrong = misplaced(record, envelope, self.step_group.partitions())
            if not wrong:
                return envelope
            broken = BrokenEnvelope(wrong)
        except BrokenEnvelope as failure:
            broken = failure
        # What is in `runs` concerns a run only once it can be read.
        known = None if record.topic == self.step_group.topics.runs else broken.known
        self._reject(record, known, Reason.BROKEN_ENVELOPE, broken)
        return None

    def _happen(self, record: Delivered, envelope: Envelope) -> None:
        try:
            happening = lifecycle.decode(envelope.type, record.value or b"")
        except lifecycle.UnknownKind:
            # Several of one run may have one event id, so it is kept by its place.
            self._hold(record, envelope, f"runs {record.offset}")
        except lifecycle.UnknownLifecycle as unknown:
            self._reject(record, None, Reason.UNKNOWN_LIFECYCLE, unknown)
        else:
            self._act(record, envelope, happening)
        self._done(record)

    def _act(self, record: Delivered, envelope: Envelope, happening: lifecycle.Lifecycle) -> None:
        """Let what happened to a run take effect."""
        if isinstance(happening, lifecycle.Started):
            self._observer.run_started()
            before_ms = self.now_ms()
            if self.clock.read(record.appended_ms):
                self._time_has_moved(before_ms)
        match self._transitions.on_lifecycle_record(self.ledger.open, record, envelope, happening):
            case Ended() as ended:
                self._end(ended)
            case Due(run_id, deadline_ms):
                self._deadlines.add(run_id, deadline_ms)
            case GoesOn() as goes_on:
                self._go_on(goes_on)

    def _end(self, ended: Ended) -> None:
        # At once and not after our commit: the end is in the log, so it is a fact.
        for work in self.flights.stop_run(ended.run_id):
            # With its run, what is parked was frozen or removed.
            if not work.parked:
                self._freeze_or_drop(work)
        self._suspects.ended(ended.run_id)
        self._deadlines.drop(ended.run_id)
        self._observer.run_ended(ended.outcome, ended.seconds)

    def _go_on(self, goes_on: GoesOn) -> None:
        if goes_on.deadline_ms:
            self._deadlines.add(goes_on.run_id, goes_on.deadline_ms)
        # While the task is loaded nothing runs; `begin` takes up what is parked then.
        if self._taking:
            for key, parked in goes_on.parked:
                self._take_up(key, parked)
        # Somebody waits for the answer.
        self.commits.now()

    def _take_up(self, key: bytes, parked: Parked) -> None:
        """Run parked work; a result that came too late takes effect."""
        record, draft = parked.record(self.partition), self.ledger.open
        envelope = self._read_envelope(record)
        if envelope is None:
            # It was rejected before, is so again, and its run fails again.
            draft.state.delete(key)
            return
        envelope = envelope._replace(step=parked.step or envelope.step)
        if record.topic == self.step_group.topics.runs:
            self._take_up_lifecycle(key, record, envelope)
            return
        if self._others.take(record, envelope):
            # It stays in the state: the next owner may be of that version.
            self._others.say(envelope)
            return
        works = self._works(record, envelope)
        run_id, event_id = envelope.run_id, envelope.event_id
        entries = {state.parked_key(run_id, event_id, work.step.name): work for work in works}
        if key not in entries:
            draft.state.delete(key)
        for entry, work in entries.items():
            if entry != key:
                named = parked.model_copy(update={"step": work.step.name})
                draft.state.put(entry, named.encode())
            self.flights.add(work._replace(parked=entry))

    def _take_up_lifecycle(self, key: bytes, record: Delivered, envelope: Envelope) -> None:
        """Let a result that came too late take effect, or what an older version did not know."""
        if envelope.type == lifecycle.Completed.kind:
            self.ledger.open.state.delete(key)
            self._transitions.complete(self.ledger.open, record, envelope)
            return
        try:
            happening = lifecycle.decode(envelope.type, record.value or b"")
        except lifecycle.UnknownLifecycle:
            self._others.say(envelope)
        else:
            self.ledger.open.state.delete(key)
            self._act(record, envelope, happening)

    def _route(self, record: Delivered, envelope: Envelope, done: AbstractSet[str]) -> None:
        if self._others.take(record, envelope):
            self._hold(record, envelope)
            self._done(record)
            return
        works = [work for work in self._works(record, envelope) if work.step.name not in done]
        self.inputs.open(record, (work.step.name for work in works), marked=bool(done))
        joined = self._joined(record, envelope, works) if works else None
        if joined is None:
            self.inputs.close(record)
        else:
            for work in works:
                self.flights.add(work if joined is envelope else work._replace(envelope=joined))
        self.commits.later()

    def _works(self, record: Delivered, envelope: Envelope) -> list[Work]:
        steps = self._accepting(record, envelope)
        return self._decoded(record, envelope, steps) if steps else []

    def _accepting(self, record: Delivered, envelope: Envelope) -> list[Step]:
        steps = self._others.steps(envelope)
        if not steps:
            error = WorkflowRuntimeError(
                f"{record.topic} got {envelope.type}, which no step of "
                f"{self.step_group.topics.engine_id} accepts; send it to the workflow that takes it"
            )
            self._reject(record, envelope, Reason.UNKNOWN_TYPE, error)
        return steps

    def _hold(self, record: Delivered, envelope: Envelope, place: str = "") -> None:
        """Keep a record for a version of the workflow that knows it.

        *place* tells it from others of its event id, in the place of a step's name.
        """
        draft, admission = self.ledger.open, self._admission(record, envelope)
        if admission is Admission.RUN:
            envelope = self._transitions.attach(draft, record, envelope)
        if admission is not Admission.DROP:
            self._others.say(envelope)
            envelope = envelope._replace(step=place or envelope.step)
            frozen = admission is Admission.FREEZE
            self._transitions.hold(draft, record, envelope, frozen=frozen)

    def _decoded(self, record: Delivered, envelope: Envelope, steps: list[Step]) -> list[Work]:
        try:
            event_type, value = self.step_group.graph.types[envelope.type], record.value or b""
            # A copy for each: a step may append to a list in its own.
            events = [decoded(event_type, value) for _ in steps]
        except BaseException as undecodable:  # noqa: BLE001 - the boundary: validators are user code
            self._reject(record, envelope, Reason.UNDECODABLE, undecodable)
            return []
        return [Work(record, envelope, *each) for each in zip(events, steps, strict=True)]

    def _joined(self, record: Delivered, envelope: Envelope, works: list[Work]) -> Envelope | None:
        """Return an event's envelope as its run takes it; None where nothing is to be run."""
        draft, admission = self.ledger.open, self._admission(record, envelope)
        if admission is Admission.FREEZE:
            for work in works:
                self._transitions.freeze(draft, work)
        if admission is not Admission.RUN:
            return None
        if self._starts(record, envelope):
            return self._transitions.raise_epoch(draft.state, envelope)
        return self._transitions.attach(draft, record, envelope)

    def _starts(self, record: Delivered, envelope: Envelope) -> bool:
        return record.topic == self._start_topic and not envelope.parent_id

    def _admission(self, record: Delivered, envelope: Envelope) -> Admission:
        draft = self.ledger.open
        if self._starts(record, envelope):
            position = self.trackers[self.step_group.topics.runs].next
            admission = self._transitions.start(draft, record, envelope, position)
            if admission is Admission.DROP:
                # Somebody waits for the answer that this run is known.
                self.commits.now()
            return admission
        return self._transitions.admit(draft.state, envelope)

    # -- steps land ---------------------------------------------------------------------------

    def landed(self, flight: Flight, outcome: Outcome) -> None:
        """Take what an attempt ended with."""
        if not self._alive or self._is_ending(outcome):
            return
        finished = self._dated(flight)
        outcome = self._take(flight, outcome)
        self._observer.step_finished(flight, outcome, finished)
        self._transitions.note(
            self.ledger.open, flight.work, self._step_record(flight, outcome, finished)
        )
        self._step_done(flight.work)
        self.ledger.open.steps += 1
        self.commits.now()

    def _dated(self, flight: Flight) -> float:
        """Give an attempt's times as the broker has them, in unix seconds; return that of now."""
        flight.queued, flight.started = (
            self.clock.at_ms(moment) / 1000 for moment in (flight.queued, flight.started)
        )
        return self.now_ms() / 1000

    def _is_ending(self, outcome: Outcome) -> bool:
        """Tell whether a step was cancelled with all tasks of the loop: the process ends."""
        if isinstance(outcome, Returned) or type(outcome.error) is not asyncio.CancelledError:
            return False
        # One of them may be cancelled for a moment: that is how a timeout works.
        return all(loop.cancelling() for loop in self._loops)

    def _take(self, flight: Flight, outcome: Outcome) -> Outcome:
        draft, work = self.ledger.open, flight.work
        if isinstance(outcome, Returned):
            try:
                self._transitions.returned(draft, work, outcome)
                return outcome
            except BaseException as refused:  # noqa: BLE001 - the boundary: encoding is user code
                outcome = Raised(refused)
        reason, attempts = _judged(outcome.error)
        self._transitions.raised(draft, work, outcome, attempt=attempts, reason=reason)
        return outcome

    def _step_record(self, flight: Flight, outcome: Outcome, finished: float) -> StepRecord:
        work = flight.work
        sent = outcome.sent if isinstance(outcome, Returned) else ()
        return StepRecord(
            step=work.step.name,
            group=self.step_group.topics.group,
            event_id=work.envelope.event_id,
            event_type=work.envelope.type,
            attempt=1,
            queued=flight.queued,
            started=flight.started,
            finished=finished,
            outcome="returned" if isinstance(outcome, Returned) else "raised",
            sent=tuple(type_name(each.event) for each in sent[:_SENT_NAMES]),
        )

    def _freeze_or_drop(self, work: Work) -> None:
        if self._transitions.admit(self.ledger, work.envelope) is Admission.FREEZE:
            self._transitions.freeze(self.ledger.open, work)
        self._step_done(work)

    def _step_done(self, work: Work) -> None:
        self._suspects.done(work)
        if work.parked:
            self.ledger.open.state.delete(work.parked)
        else:
            self.inputs.step_done(work.record, work.step.name)
        self.commits.later()

    def _done(self, record: Delivered) -> None:
        self.inputs.done(record)
        self.commits.later()

    def _reject(
        self, record: Delivered, envelope: Envelope | None, reason: Reason, error: BaseException
    ) -> None:
        if envelope is not None and self._starts(record, envelope):
            # Its sender takes no end for its own before it has heard of a start.
            admission = self._admission(record, envelope)
            if admission is Admission.DROP:
                # A repeated start, and its sender is told so: no reason for the run to fail.
                envelope = None
        self._transitions.reject(self.ledger.open, record, envelope, reason, error)
        self.commits.now()

    # -- time ---------------------------------------------------------------------------------

    def _time_out(self, run_id: str) -> None:
        active = self.flights.active_steps(run_id)
        try:
            self._transitions.timed_out(self.ledger.open, run_id, active)
        except Exception as failure:  # noqa: BLE001 - a timer has nobody else to tell
            self.broken(failure)
        else:
            self.commits.now()

    def forget(self, entry: ends_index.Entry) -> None:
        """Remove everything that is kept of a run whose time is over."""
        if entry.kind is ends_index.Kind.UNSTARTED:
            if self.flights.has(entry.run_id):
                # What its steps give would be kept for ever. A later look comes by again.
                return
            self._transitions.forget_unstarted(self.ledger.open, entry.run_id)
        else:
            frozen = entry.kind is ends_index.Kind.FROZEN
            self._transitions.forget(self.ledger.open, entry.run_id, frozen=frozen)
            self.step_group.forgotten(entry.run_id)
        self.commits.later()

    def have_passed(self, time_ms: float) -> bool:
        """Whether every record that was appended before *time_ms* was delivered."""
        if self.step_group.reads_at_once:
            # Whoever asks again has let the loop turn.
            return self.now_ms() > time_ms + _TURN_MS
        return self.inputs.have_passed(time_ms)

    # -- commits ------------------------------------------------------------------------------

    def permit(self, work: Work) -> AbstractAsyncContextManager[None] | None:
        """Return what a step has to wait for, where it may have ended a process."""
        return self._suspects.permit(work)

    def _positions(self) -> Mapping[bytes, bytes]:
        # The next thing is the seal of the draft.
        self._suspects.sealed()
        self._deadlines.sealed()
        return self.inputs.positions()

    def _committed(self, commit: Committed) -> None:
        before_ms, runs = self.now_ms(), self.step_group.topics.runs
        moved = self.clock.observe(commit.times, commit.seconds)
        records = commit.draft.records
        if runs not in commit.times and any(record.topic == runs for record in records):
            moved |= self.clock.not_told(commit.seconds)
        if moved:
            self._time_has_moved(before_ms)
        self._deadlines.committed()
        self._suspects.committed(self.now_ms())
        self.inputs.committed()
        self.uncommitted.count()
        # Also of other tasks: what this one held is theirs now.
        self.step_group.slots.hand_out()
        self._observer.committed(commit.records, commit.size, commit.seconds)
        for run_id, letter in commit.draft.letters:
            self._observer.dead_letter(run_id, letter)

    def _time_has_moved(self, before_ms: float) -> None:
        self._deadlines.time_is_another()
        if self.now_ms() < before_ms - _SET_BACK_MS:
            self.inputs.forget_times()

    def _refused(self, draft: Draft, found: RecordsRefused) -> None:
        """Let what the broker refuses be the failure of the attempts that made it."""
        topics = self.step_group.topics
        for culprit in refused.take_out(draft, topics, found.refused, self._left_out):
            self._transitions.refused(draft, self.ledger, culprit)

    def _left_out(self, what: str, record: Outgoing, reason: Exception) -> None:
        _log.error(what, task=self.name, topic=record.topic, error=repr(reason))

    async def _supervised(self, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await loop()
        except TaskLost as lost:
            self._lose(lost)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the task must not look alive
            self._lose(failure)

    def _lose(self, reason: BaseException) -> None:
        if self._alive:
            self._alive = self._taking = False
            self._deadlines.stop()
            self.flights.stop()
            self._hold_nothing()
            for loop in self._loops:
                # What is decided and not committed is half of something, perhaps.
                loop.cancel()
            self._lost(self, reason)

    def _hold_nothing(self) -> None:
        self.inputs.window.close()
        self.uncommitted.close()
        self.step_group.slots.hand_out()

    def broken(self, failure: BaseException) -> None:
        """Give up: something failed that cannot fail, so the task must not look alive."""
        self._lose(failure)

    def now_ms(self) -> float:
        """Return the broker's time in unix milliseconds."""
        return self.clock.now_ms()

    @property
    def knows_time(self) -> bool:
        """Whether a commit has told the broker's time."""
        return self.clock.known

    def now(self) -> float:
        """Return the time of a clock that nobody sets, in seconds."""
        return self.step_group.monotonic()

    def broker_ms(self, moment: float) -> float:
        """Return what the broker's time was at a moment of that clock, in unix milliseconds."""
        return self.clock.at_ms(moment)


def _judged(error: BaseException) -> tuple[Reason, int]:
    """Return a failed step's reason as its dead letter has it, and the number of its attempts."""
    # Not isinstance, which asks the exception itself.
    if issubclass(type(error), RecordTooLarge):
        return Reason.TOO_LARGE, 1
    if type(error) is CrashesWorker:
        return Reason.CRASHES_WORKER, error.deaths
    return Reason.FAILED, 1
