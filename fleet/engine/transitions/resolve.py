"""
What a record is to its step group: decided here, from the record and the state, and only decided.

`Resolver.resolve` reads and never writes. `engine.intake` applies what it returns.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from fleet.engine.transitions import runs
from fleet.engine.transitions.draft import Wiring, Work
from fleet.engine.transitions.runs import Admission, Entrance
from fleet.engine.transitions.versions import former_names
from fleet.engine.transitions.waiting import waits
from fleet.engine.transitions.waiting.waits import Waiting
from fleet.records import envelope as envelopes
from fleet.records import lifecycle
from fleet.records.dead_letter import Reason
from fleet.records.envelope import BrokenEnvelope, Envelope
from fleet.records.events import Event, decoded, type_name
from fleet.records.lifecycle import Lifecycle
from fleet.records.log import Delivered
from fleet.records.nested.caller import ENDED
from fleet.records.partitions import misplaced
from fleet.records.state import View
from fleet.workflow.errors import WorkflowRuntimeError
from fleet.workflow.steps import Step


class Rejected(NamedTuple):
    """It cannot be processed: a dead letter, and its run fails."""

    #: None if it concerns no run that could fail.
    envelope: Envelope | None
    entrance: Entrance
    reason: Reason
    error: BaseException


class Dropped(NamedTuple):
    """Its run has its result already, or it is the start of a run that is known."""

    envelope: Envelope
    entrance: Entrance


class Held(NamedTuple):
    """Only another version of the workflow has a step for it: it is suspended."""

    envelope: Envelope
    entrance: Entrance
    #: Tells it from others of the same event, in the place of a step's name.
    place: str = ""


class Early(NamedTuple):
    """No step takes it, here or in its sender's version: it stays for a wait that may come."""

    envelope: Envelope
    entrance: Entrance


class Answered(NamedTuple):
    """Steps wait for it, and have it now."""

    envelope: Envelope
    entrance: Entrance
    waiting: list[Waiting]
    #: The other steps that take it.
    works: list[Work]


class Deferred(NamedTuple):
    """Its run ended without a result: its steps are suspended until the run is resumed."""

    works: list[Work]


class Run(NamedTuple):
    """Its steps are run."""

    envelope: Envelope
    entrance: Entrance
    works: list[Work]


class Happened(NamedTuple):
    """A record of `runs`: something happened to a run."""

    envelope: Envelope
    happening: Lifecycle


class ChildEnded(NamedTuple):
    """A run that a step of this one has started has ended."""

    envelope: Envelope
    #: Whether the step can hear of it: else its run has its result, or is gone.
    heard: bool


Resolution = Rejected | Dropped | Held | Early | Answered | Deferred | Run | Happened | ChildEnded

#: In the place of the events of a join that fired.
_BATCH = Event()

_ADMITTED = Entrance(Admission.RUN)


@dataclass(frozen=True)
class Resolver:
    """Decides what a record is to one step group."""

    wiring: Wiring
    #: Returns how many partitions each topic has.
    partitions: Callable[[], int]

    def resolve(self, view: View, record: Delivered, runs_position: int) -> Resolution:
        """Return what becomes of a record that was delivered.

        *runs_position* is the offset up to which `runs` was read.
        """
        found = self._resolve(view, record, runs_position)
        if self.wiring.graph.has_renamed and isinstance(found, Run | Deferred | Answered):
            return found._replace(works=[former_names.known_as(view, one) for one in found.works])
        return found

    def _resolve(self, view: View, record: Delivered, runs_position: int) -> Resolution:
        envelope = self._envelope(record)
        if isinstance(envelope, BrokenEnvelope):
            return self._broken(view, record, envelope, runs_position)
        if record.topic == self.wiring.topics.runs:
            return self._happened(view, record, envelope)
        if self._tells_of_child(record, envelope):
            return self._child_ended(view, envelope)
        entrance = self._entrance(view, record, envelope, runs_position)
        if waiting := self._waiting(view, record, envelope, entrance):
            return self._answered(record, envelope, entrance, waiting)
        if self._is_for_another_version(record, envelope):
            return _untaken(envelope, entrance)
        return self._admitted(record, envelope, entrance)

    def resolve_suspended(
        self, view: View, record: Delivered, step: str, runs_position: int
    ) -> Resolution:
        """Return what becomes of suspended work that waits for nothing more.

        It entered its run before. *step* is the one that it is for; empty: every step.
        """
        envelope = self._envelope(record)
        if isinstance(envelope, BrokenEnvelope):
            return self._broken(view, record, envelope, runs_position)
        envelope = envelope._replace(step=step or envelope.step)
        if record.topic == self.wiring.topics.runs:
            return self._happened_late(record, envelope)
        if self._tells_of_child(record, envelope):
            return self._child_ended(view, envelope)
        if self._is_for_another_version(record, envelope):
            return Held(envelope, _ADMITTED)
        works = self._works(record, envelope, _ADMITTED)
        if not isinstance(works, Rejected):
            return Run(envelope, _ADMITTED, works)
        return works._replace(entrance=self._entrance(view, record, envelope, runs_position))

    def _admitted(self, record: Delivered, envelope: Envelope, entrance: Entrance) -> Resolution:
        works = self._works(record, envelope, entrance)
        if isinstance(works, Rejected):
            return works
        match entrance.admission:
            case Admission.RUN:
                return Run(envelope, entrance, works)
            case Admission.SUSPEND:
                return Deferred(works)
            case Admission.DROP:
                return Dropped(envelope, entrance)

    # -- which steps wait for it --------------------------------------------------------------

    def _waiting(
        self, view: View, record: Delivered, envelope: Envelope, entrance: Entrance
    ) -> list[Waiting]:
        if entrance.admission is Admission.DROP or entrance.start is not None:
            return []
        ended = entrance.admission is Admission.SUSPEND
        return waits.matching(view, envelope, record.value or b"", ended=ended)

    def _answered(
        self,
        record: Delivered,
        envelope: Envelope,
        entrance: Entrance,
        waiting: list[Waiting],
    ) -> Answered:
        others = self._works(record, envelope, entrance) if self._steps(envelope) else []
        answered = {entry.step for _, entry in waiting}
        # It was read to see whether it matches, so it is not rejected.
        works = [] if isinstance(others, Rejected) else others
        rest = [work for work in works if answered.isdisjoint(work.step.names)]
        return Answered(envelope, entrance, waiting, rest)

    # -- which child it tells of --------------------------------------------------------------

    def _tells_of_child(self, record: Delivered, envelope: Envelope) -> bool:
        is_told = envelope.type == ENDED and bool(envelope.told)
        return is_told and record.topic == self.wiring.topics.inbox

    def _child_ended(self, view: View, envelope: Envelope) -> ChildEnded:
        end = runs.end_of(view, envelope.run_id)
        known = runs.run_of(view, envelope.run_id) is not None
        return ChildEnded(envelope, heard=known and (end is None or end.resumable))

    # -- which run it concerns ----------------------------------------------------------------

    def _envelope(self, record: Delivered) -> Envelope | BrokenEnvelope:
        try:
            envelope = envelopes.parse(record.headers)
        except BrokenEnvelope as broken:
            return broken
        wrong = misplaced(record, envelope, self.partitions())
        if wrong:
            return BrokenEnvelope(wrong)
        step = self.wiring.graph.log_name(envelope.step)
        return envelope if step == envelope.step else envelope._replace(step=step)

    def _broken(
        self, view: View, record: Delivered, broken: BrokenEnvelope, runs_position: int
    ) -> Rejected:
        # What is in `runs` concerns a run only once it can be read.
        known = None if record.topic == self.wiring.topics.runs else broken.known
        entrance = self._entrance(view, record, known, runs_position) if known else _ADMITTED
        return Rejected(known, entrance, Reason.BROKEN_ENVELOPE, broken)

    def _entrance(
        self, view: View, record: Delivered, envelope: Envelope, runs_position: int
    ) -> Entrance:
        run_id, epoch = envelope.run_id, envelope.epoch
        end = runs.end_of(view, run_id)
        if not self._is_start(record, envelope):
            return Entrance(runs.admit(end, epoch))
        start = runs.Start(
            event_id=envelope.event_id,
            offset=record.offset,
            fingerprint=runs.fingerprint(record.value),
            timeout_seconds=envelope.timeout_seconds,
            appended_ms=record.appended_ms,
            caller=envelope.caller,
        )
        decision = runs.begin(runs.run_of(view, run_id), end, start, runs_position)
        match decision:
            case runs.Begun():
                return Entrance(Admission.RUN, decision)
            case runs.Repeated():
                return Entrance(Admission.DROP, decision)
            case runs.Redelivered():
                return Entrance(runs.admit(end, epoch), decision)

    def _is_start(self, record: Delivered, envelope: Envelope) -> bool:
        return record.topic == self._start_topic and not envelope.parent_id

    @cached_property
    def _start_topic(self) -> str:
        return self.wiring.topics.event(type_name(self.wiring.graph.start))

    # -- which steps it is for ----------------------------------------------------------------

    def _steps(self, envelope: Envelope) -> list[Step]:
        """Return the steps of this version that take an event."""
        accepting, name = self.wiring.graph.accepting_called(envelope.type), envelope.step
        return [step.called(name or step.name) for step in accepting if name in ("", *step.names)]

    def _is_for_another_version(self, record: Delivered, envelope: Envelope) -> bool:
        """Tell whether only another version has a step for an event, for all that this one knows.

        Not one that lies in the topic of another type: no version sends it there.
        """
        topics = self.wiring.topics
        own = record.topic in (topics.inbox, topics.event(envelope.type))
        return own and not self._steps(envelope)

    def _works(
        self, record: Delivered, envelope: Envelope, entrance: Entrance
    ) -> list[Work] | Rejected:
        steps = self._steps(envelope)
        if not steps:
            error = WorkflowRuntimeError(
                f"{record.topic} got {envelope.type}, which no step of "
                f"{self.wiring.topics.engine_id} accepts; send it to the workflow that takes it"
            )
            return Rejected(envelope, entrance, Reason.UNKNOWN_TYPE, error)
        if envelope.batch:
            # Its events are in the state, and are read when the step begins.
            return [Work(record, envelope, _BATCH, step) for step in steps]
        try:
            events = self._decoded(record, envelope, len(steps))
        except BaseException as undecodable:  # noqa: BLE001 - the boundary: validators are user code
            return Rejected(envelope, entrance, Reason.UNDECODABLE, undecodable)
        return [Work(record, envelope, *pair) for pair in zip(events, steps, strict=True)]

    def _decoded(self, record: Delivered, envelope: Envelope, copies: int) -> list[Event]:
        """Return the event as often as steps take it: a step may append to a list in its own."""
        event_type, value = self.wiring.graph.type_called(envelope.type), record.value or b""
        assert event_type is not None, "some step takes it"
        called = self.wiring.graph.type_called
        return [decoded(event_type, value, called) for _ in range(copies)]

    # -- what happened to a run ---------------------------------------------------------------

    def _happened(self, view: View, record: Delivered, envelope: Envelope) -> Resolution:
        try:
            return Happened(envelope, lifecycle.decode(envelope.type, record.value or b""))
        except lifecycle.UnknownKind:
            end = runs.end_of(view, envelope.run_id)
            entrance = Entrance(runs.admit(end, envelope.epoch))
            # Several of one run may have one event id, so it is kept by its place.
            return _held(envelope, entrance, f"runs {record.offset}")
        except lifecycle.UnknownLifecycle as unknown:
            return Rejected(None, _ADMITTED, Reason.UNKNOWN_LIFECYCLE, unknown)

    def _happened_late(self, record: Delivered, envelope: Envelope) -> Happened | Held:
        try:
            return Happened(envelope, lifecycle.decode(envelope.type, record.value or b""))
        except lifecycle.UnknownLifecycle:
            return Held(envelope, _ADMITTED)


def _untaken(envelope: Envelope, entrance: Entrance) -> Held | Early | Dropped:
    """Return what becomes of an event that no step of this version takes."""
    if not envelope.unaccepted:
        return _held(envelope, entrance)
    if entrance.admission is Admission.DROP:
        return Dropped(envelope, entrance)
    return Early(envelope, entrance)


def _held(envelope: Envelope, entrance: Entrance, place: str = "") -> Held | Dropped:
    if entrance.admission is Admission.DROP:
        return Dropped(envelope, entrance)
    return Held(envelope, entrance, place)
