"""
Records come in: each is resolved to what it is, and that is applied.

What a record is, `transitions.resolve` decides from the record and the state, without changing
either. Here that takes effect: in the draft, in the inputs, and on the steps that run.
"""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet

from fleet.engine.activity import UnhandledLog
from fleet.engine.admission.run_queues import Aside, Key
from fleet.engine.joining import Joining
from fleet.engine.loading.other_versions import OtherVersions
from fleet.engine.offsets import Delivery, Lost
from fleet.engine.parts import Parts
from fleet.engine.run_changes import Entry, RunChanges
from fleet.engine.transitions import (
    failures,
    runs,
    starts,
    suspended,
    suspending,
    timed,
    unhandled,
)
from fleet.engine.transitions.children import awaiting
from fleet.engine.transitions.draft import Work
from fleet.engine.transitions.joins import Fired
from fleet.engine.transitions.resolve import (
    Answered,
    ChildEnded,
    Deferred,
    Dropped,
    Early,
    Happened,
    Held,
    Rejected,
    Resolution,
    Resolver,
    Run,
)
from fleet.engine.transitions.runs import Admission, Entrance
from fleet.engine.transitions.scopes import Place
from fleet.engine.transitions.suspended import Suspended
from fleet.engine.transitions.versions import unknown_steps
from fleet.engine.transitions.waiting import answers, waits
from fleet.records import state
from fleet.records.envelope import Envelope
from fleet.records.log import Delivered

#: Delivered and not done, per topic, before what has to wait for its own run is set aside.
CROWDED_RECORDS = 5_000


class Intake:
    """Takes the records of one task's inputs, and the suspended work in its state."""

    def __init__(
        self,
        parts: Parts,
        resolver: Resolver,
        changes: RunChanges,
        joining: Joining,
        taking: Callable[[], bool],
    ) -> None:
        self._parts = parts
        #: Whether the task is loaded: before that nothing runs.
        self._taking = taking
        self._resolver = resolver
        self._changes = changes
        self._joining = joining
        self._versions = OtherVersions(parts.topics)
        self._unhandled = UnhandledLog(parts.topics)

    # -- from the inputs ----------------------------------------------------------------------

    def deliver(self, record: Delivered) -> None:
        """Take one record; records come in the order of their partition, without gaps."""
        parts = self._parts
        parts.clock.has_been(record.appended_ms)
        delivery = parts.inputs.deliver(record)
        if delivery is Delivery.KNOWN:
            return
        found = self._resolver.resolve(parts.ledger, record, self._runs_position)
        done = parts.inputs.marked(record) if delivery is Delivery.AGAIN else frozenset[str]()
        self._apply(record, found, done)
        parts.commits.later()

    def reaches(self, topic: str, position: int, end: int, begin: int = 0) -> None:
        """Note how far *topic* is read now, and where it begins and ends: all as offsets.

        Everything below *position* was delivered: nothing that was read is on its way.
        """
        parts = self._parts
        self._note_lost(topic, parts.inputs.passed(topic, position, begin))
        if parts.inputs.trackers[topic].dirty:
            parts.commits.later()
        if parts.clock.known:
            # By a time that is guessed an age would be what the clock is corrected by.
            parts.inputs.reading.reaches(topic, end - position, parts.clock.now_ms())

    def cut(self, topic: str, begin: int) -> None:
        """Let go of what *topic*, which begins at *begin*, does not have any more."""
        self._note_lost(topic, self._parts.inputs.cut(topic, begin))

    def skipped(self, topic: str, begin: int) -> None:
        """Note where *topic* begins, which was asked for: what was skipped below that is lost."""
        tracker = self._parts.inputs.trackers[topic]
        self._note_lost(topic, tracker.skipped(begin))
        if tracker.dirty:
            self._parts.commits.later()

    def _note_lost(self, topic: str, lost: Lost | None) -> None:
        if lost is not None:
            self._parts.observer.records_lost(topic, self._parts.partition, lost)
            self._parts.commits.later()

    @property
    def _runs_position(self) -> int:
        return self._parts.inputs.trackers[self._parts.topics.runs].next

    def _apply(self, record: Delivered, found: Resolution, done: AbstractSet[str]) -> None:
        """Let what a record was resolved to take effect; *done* are its steps that are done."""
        match found:
            case Run():
                self._run(record, found, done)
                return
            case Happened(envelope, happening):
                self._run_resumed(self._changes.take(record, envelope, happening))
            case Rejected():
                self._reject(record, found)
            case Held():
                self._hold(record, found)
            case Early() | Answered():
                self._for_waits(record, found)
            case ChildEnded():
                self._child_ended(record, found)
            case Deferred(works):
                self._defer(works, done)
            case Dropped():
                self._drop(record, found)
        self._parts.inputs.pass_over(record, marked=bool(done))

    def _defer(self, works: Iterable[Work], done: AbstractSet[str]) -> None:
        """Let the steps wait for the resume of their run, but for those that are done."""
        for work in works:
            if done.isdisjoint(work.step.names):
                suspending.suspend(self._parts.draft, self._parts.topics, work)

    def _hold(self, record: Delivered, found: Held) -> None:
        draft = self._parts.draft
        self._versions.say(found.envelope)
        key = suspending.hold(draft, self._parts.topics, record, found)
        held = draft.state.get(key) if key else None
        if held is not None:
            self._await_version(key, Suspended.decode(held))

    def _run(self, record: Delivered, found: Run, done: AbstractSet[str]) -> None:
        parts = self._parts
        works = [work for work in found.works if done.isdisjoint(work.step.names)]
        parts.inputs.open(record, (work.step.name for work in works), marked=bool(done))
        if not works:
            parts.inputs.close(record)
            return
        entrance = self._queued(record, found)
        envelope = starts.enter(parts.draft, parts.topics, record, found.envelope, entrance)
        for work in works:
            entered = work if envelope is work.envelope else work._replace(envelope=envelope)
            self._start(entered)

    def _queued(self, record: Delivered, found: Run) -> Entrance:
        """Return how an event enters its run: one that has no place yet begins later."""
        start, run_id = found.entrance.start, found.envelope.run_id
        if not isinstance(start, runs.Begun):
            return found.entrance
        if self._parts.queues.ask(run_id, record.appended_ms):
            return found.entrance
        return found.entrance._replace(start=runs.queued(start))

    def _start(self, work: Work) -> None:
        """Run a step for an event; a join only gets it, until it has fired."""
        if work.step.is_join and not work.envelope.batch:
            fired = self._joining.take(work)
            self._fire([fired] if fired else [])
        elif not self._set_aside(work):
            self._parts.attempts.add(work)

    def _is_crowded(self, topic: str) -> bool:
        """Tell whether so much of *topic* is open that others may soon have to wait for it."""
        inputs = self._parts.inputs
        return inputs.trackers[topic].pending > CROWDED_RECORDS or inputs.window.half_full

    def _set_aside(self, work: Work) -> bool:
        """Let a step wait in the state if its run holds it up and others wait for its input.

        Tell whether it does.
        """
        parts = self._parts
        if work.suspended or not self._is_crowded(work.record.topic):
            return False
        key = Key(work.envelope.run_id, work.step.name)
        if not (parts.queues.takes_aside and parts.queues.must_wait(key, work.record.appended_ms)):
            return False
        entry = suspending.set_aside(parts.draft, work)
        if entry:
            # Of what it may have done to a process nothing is forgotten.
            parts.inputs.step_done(work.record, work.step.name)
            parts.attempts.add(work._replace(suspended=entry))
        return bool(entry)

    def _fire(self, joins: Iterable[Fired]) -> None:
        for key, entry in joins:
            self.run_suspended(key, entry)
            self._parts.commits.now()

    def _reject(self, record: Delivered, found: Rejected) -> None:
        draft, topics = self._parts.draft, self._parts.topics
        if found.envelope is not None and found.entrance.start is not None:
            # A caller takes no end for its own before it has read of a start.
            starts.enter(draft, topics, record, found.envelope, found.entrance)
        failures.rejected(draft, topics, record, found)
        self._parts.commits.now()

    def _drop(self, record: Delivered, found: Dropped) -> None:
        if found.entrance.start is not None:
            draft, topics = self._parts.draft, self._parts.topics
            starts.enter(draft, topics, record, found.envelope, found.entrance)
            # A caller waits for the answer that this run is known.
            self._parts.commits.now()

    def _for_waits(self, record: Delivered, found: Early | Answered) -> None:
        """Take an event that steps wait for, or may come to wait for."""
        parts = self._parts
        envelope = starts.enter(parts.draft, parts.topics, record, found.envelope, found.entrance)
        if isinstance(found, Early):
            self._keep_early(record, envelope, found.entrance.admission)
        else:
            self._answer(record, envelope, found)
        parts.commits.now()

    def _child_ended(self, record: Delivered, found: ChildEnded) -> None:
        """Let the step that awaits a run have its end."""
        parts, now_ms = self._parts, round(self._parts.clock.now_ms())
        woken = None
        if found.heard:
            woken = awaiting.end(parts.draft, record, found.envelope, now_ms)
        if woken is None:
            parts.observer.answer_dropped(found.envelope)
            return
        parts.commits.now()
        self._run_resumed(woken)

    def _keep_early(self, record: Delivered, envelope: Envelope, admission: Admission) -> None:
        """Keep an event that no step takes for a wait that may come; the stream says so."""
        parts = self._parts
        if not answers.keep(parts.draft, record, envelope):
            parts.observer.answer_dropped(envelope)
        if admission is Admission.RUN:
            full, idle = envelope.unaccepted, not parts.attempts.has(envelope.run_id)
            self._unhandled.say(envelope.type, "")
            parts.draft.records.append(unhandled.record(parts.topics, envelope, full, idle=idle))

    def _answer(self, record: Delivered, envelope: Envelope, found: Answered) -> None:
        """Let the steps that wait for an event have it, and others run that take it."""
        parts, now_ms = self._parts, round(self._parts.clock.now_ms())
        woken = waits.answer(parts.draft, record, envelope, found.waiting, now_ms)
        for work in found.works:
            self._run_beside(work._replace(envelope=envelope), found.entrance.admission)
        self._run_resumed(woken)

    def _run_beside(self, work: Work, admission: Admission) -> None:
        """Run a step for an event that others had waited for.

        From the state: if the event came again, it would find other waits.
        """
        parts = self._parts
        if admission is not Admission.RUN:
            suspending.suspend(parts.draft, parts.topics, work)
            return
        entry = suspending.set_aside(parts.draft, work)
        if entry:
            self._start(work._replace(suspended=entry))
        else:
            suspending.too_large(parts.draft, parts.topics, work)

    # -- from the state -----------------------------------------------------------------------

    def fire_joins(self, places: Iterable[Place]) -> None:
        """Run the joins that fire now that something of these fan-outs is committed."""
        self._fire(self._joining.due(places))

    def restore_runs(self) -> None:
        """Let the runs of a loaded state take their places, or wait for them in their order."""
        ledger, limited = self._parts.ledger, self._parts.queues.limited
        kept = ledger.committed(state.RUN)
        for run_id, run in runs.in_order(ledger, kept, queued=not limited):
            if self._parts.queues.ask(run_id, run.seen_ms):
                # It may have waited for one in another worker.
                self.admit(run_id)

    def admit(self, run_id: str) -> None:
        """Let a run begin that has waited for its place."""
        parts = self._parts
        if starts.admit(parts.draft, parts.topics, run_id, self._runs_position):
            parts.commits.now()

    def restore_suspended(self) -> None:
        """Run the suspended work that a loaded state has, and the joins that fire in it."""
        for key in suspended.in_order(self._parts.ledger):
            self.take_up(key)
        self._fire(self._joining.all_due())

    def take_up(self, key: bytes) -> None:
        """Run suspended work, unless its run has ended."""
        value = self._parts.ledger.get(key)
        if value is not None:
            self.run_suspended(key, Suspended.decode(value))

    def wake(self, due: bytes) -> bool:
        """Run the suspended work whose time has come; *due* is the key of its time.

        Tell whether that is too early: an event that came in time ends a wait, also if it is read
        late, as after an hour without a worker.
        """
        parts = self._parts
        if timed.is_wait(parts.draft, due):
            due_ms, _ = state.due_of(due)
            topics = parts.inputs.trackers.keys() - {parts.topics.runs}
            if not parts.inputs.reading.have_brought(due_ms, topics):
                return True
        woken = timed.wake(parts.draft, due, round(parts.clock.now_ms()))
        parts.commits.now()
        waited = unknown_steps.passed(parts.draft, due) if woken is None else None
        if woken is not None:
            self.run_suspended(*woken)
        elif waited is not None:
            self._give_up(*waited)
        return False

    def _run_resumed(self, entries: list[Entry]) -> None:
        # While the task is loaded nothing runs; `restore_suspended` runs these then.
        if self._taking():
            for key, entry in entries:
                self.run_suspended(key, entry)

    def run_suspended(self, key: bytes, entry: Suspended) -> None:
        """Run suspended work; a result that came too late takes effect."""
        if self._waits(key, entry):
            return
        record, draft = entry.record(self._parts.partition), self._parts.draft
        found = self._resolver.resolve_suspended(
            self._parts.ledger, record, entry.step, self._runs_position
        )
        match found:
            case Held():
                # It stays in the state: the next owner may be of a version that knows it.
                self._versions.say(found.envelope)
                self._await_version(key, entry)
            case Rejected():
                # It was rejected before, is so again, and its run fails again.
                draft.state.delete(key)
                self._reject(record, found)
            case Happened(envelope, happening):
                draft.state.delete(key)
                self._run_resumed(self._changes.take_late(record, envelope, happening))
            case ChildEnded():
                draft.state.delete(key)
                self._child_ended(record, found)
            case Run(_, _, works):
                self._run_each(key, unknown_steps.known(draft, key, entry), works)
            case Dropped() | Deferred() | Early() | Answered():
                raise AssertionError("suspended work entered its run before")

    def _await_version(self, key: bytes, entry: Suspended) -> None:
        """Let work wait for its step, for some hours; an event that is for no certain one waits on.

        So does a record of `runs`, which has a place in that of a step.
        """
        if not entry.step or entry.topic == self._parts.topics.runs:
            return
        unknown_steps.wait(self._parts.draft, key, entry, self._parts.until_known_ms)
        self._parts.commits.later()

    def _give_up(self, key: bytes, entry: Suspended) -> None:
        """Make a dead letter of work that has waited for its step, if there still is none."""
        record, parts = entry.record(self._parts.partition), self._parts
        args = parts.ledger, record, entry.step, self._runs_position
        found = self._resolver.resolve_suspended(*args)
        if isinstance(found, Held):
            unknown_steps.give_up(parts.draft, parts.topics, record, found.envelope, entry)

    def _waits(self, key: bytes, entry: Suspended) -> bool:
        """Let work wait that would have to, and is not worth decoding before; tell whether."""
        step = self._parts.wiring.graph.step_called.get(entry.step)
        if step is None or step.is_join or entry.topic == self._parts.topics.runs:
            return False
        place, queues = Key(state.run_of_suspended(key), step.name), self._parts.queues
        if not queues.must_wait(place, entry.since_ms):
            return False
        queues.wait(place, Aside(key, self._parts.clock.now()))
        return True

    def _run_each(self, found_at: bytes, entry: Suspended, works: list[Work]) -> None:
        """Run the steps of one entry, each from an entry of its own."""
        draft = self._parts.draft
        keys = {
            state.suspended_key(work.envelope.run_id, work.envelope.event_id, work.step.name): work
            for work in works
        }
        if found_at not in keys:
            draft.state.delete(found_at)
        for key, work in keys.items():
            if key != found_at:
                named = entry.model_copy(update={"step": work.step.name})
                draft.state.put(key, named.encode())
            self._start(work._replace(suspended=key, tries=entry.tries))
