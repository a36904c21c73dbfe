"""
Decisions about a run: does it begin, does it continue, has it ended.

Pure: state and what happened go in, a decision comes out. Records may arrive in any order between
topics, so each decision stands for every order: an event before its start, a cancel of a run that
was not seen yet, an end that was decided twice.
"""

import enum
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Self, TypeVar

from pydantic_core import from_json

from fleet.records import effective_end, state
from fleet.records.effective_end import NO_END, SoFar
from fleet.records.entry import Entry
from fleet.records.envelope import MAX_TIMEOUT_SECONDS, Envelope
from fleet.records.lifecycle import Completed, Known, Lifecycle, Started
from fleet.records.nested.caller import Caller
from fleet.records.state import Overlay, View

R = TypeVar("R", bound=Entry)

_CANONICAL = json.JSONEncoder(sort_keys=True)
#: Milliseconds in a day.
DAY_MS = 86_400_000


class Run(Entry):
    """What a group keeps of a run that did not end."""

    #: Id of the start event that began it; empty while another event of it came first.
    start_event_id: str = ""
    #: Offset of that event: a copy of it, from a client that sent it twice, has another.
    start_offset: int = -1
    #: Digest of the start event's value: tells a repetition from a conflict.
    fingerprint: str = ""
    timeout_seconds: float | None = None
    #: Broker time, in unix milliseconds, at which the run times out; 0 until `started` was read.
    deadline_ms: int = 0
    #: Broker time of the first record that was seen of it.
    seen_ms: int = 0
    epoch: int = 0
    #: It may have suspended work, fan-outs or joins.
    held: bool = False
    #: It may have values of its context.
    context: bool = False
    #: It waits for a place in a worker (`num_concurrent_runs`): its deadline is counted from then.
    queued: bool = False
    #: Steps of it may wait for events, or answers for steps.
    waits: bool = False
    #: Steps of it may await other runs.
    children: bool = False
    #: The step that awaits this run, as its start event named it; empty: none does.
    caller: str = ""

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a state value; one that was read before is not read again."""
        found: Self = _read(cls, value)
        return found


# The decisions of a commit look at a run several times.
@lru_cache(2_000)
def _read(kind: type[R], value: bytes) -> R:
    return kind.model_validate_json(value)


class End(Entry):
    """What stays of a run that ended."""

    outcome: str
    epoch: int = 0
    #: Offset of the effective terminal record in its `runs` partition.
    offset: int
    #: Append time of that record, in unix milliseconds.
    ended_ms: int
    #: Broker time of the first record that was seen of the run; 0: an older version ended it.
    seen_ms: int = 0
    start_event_id: str = ""
    start_offset: int = -1
    fingerprint: str = ""

    @property
    def resumable(self) -> bool:
        """Whether the run's state is kept, so that it can be resumed."""
        return self.outcome != Completed.kind


class Admission(enum.Enum):
    """What becomes of an event that arrives for a run."""

    RUN = "run"
    DROP = "drop"
    SUSPEND = "suspend"


@dataclass(frozen=True, slots=True)
class Repeated:
    """The start event's run is known: answer, start nothing."""

    answer: Known
    #: The epoch that the run has come to.
    epoch: int = 0
    #: The run has ended before it began: it was cancelled.
    unbegun: bool = False


@dataclass(frozen=True, slots=True)
class Begun:
    """A run begins: keep it and say so."""

    run: Run
    record: Started


@dataclass(frozen=True, slots=True)
class Redelivered:
    """The start event that began the run came again, as after a crash."""


StartDecision = Begun | Redelivered | Repeated


class Entrance(NamedTuple):
    """How an event enters its run."""

    admission: Admission
    #: What a start event decides; None for another event.
    start: StartDecision | None = None


class Place(NamedTuple):
    """Where a terminal record stands."""

    epoch: int
    #: In the run's `runs` partition.
    offset: int
    #: Unix milliseconds.
    appended_ms: int


class Start(NamedTuple):
    """A start event that was delivered."""

    event_id: str
    offset: int
    fingerprint: str
    timeout_seconds: float | None
    #: Append time in unix milliseconds.
    appended_ms: int
    #: The step that awaits the run; empty: none does.
    caller: str = ""


def run_of(view: View, run_id: str) -> Run | None:
    """Return what is kept of a run that did not end, also of one whose start did not come yet."""
    value = view.get(state.run_key(run_id)) or view.get(state.seen_key(run_id))
    return Run.decode(value) if value is not None else None


def mark_held(changes: Overlay, run_id: str) -> None:
    """Note at a run that it may have suspended work, fan-outs, joins, edits or recorded calls."""
    _mark(changes, run_id, "held")


def mark_context(changes: Overlay, run_id: str) -> None:
    """Note at a run that it may have a context. Of others nothing is looked for at their end."""
    _mark(changes, run_id, "context")


def mark_waits(changes: Overlay, run_id: str) -> None:
    """Note at a run that steps may wait for events, or answers for steps."""
    _mark(changes, run_id, "waits")


def mark_children(changes: Overlay, run_id: str) -> None:
    """Note at a run that steps may await other runs."""
    _mark(changes, run_id, "children")


def waits(view: View, run_id: str) -> bool:
    """Tell whether steps of a run may wait for events, or answers for steps."""
    value = view.get(state.run_key(run_id)) or view.get(state.seen_key(run_id))
    # Most runs have no such flag: they need not be decoded.
    return value is not None and b'"waits"' in value and Run.decode(value).waits


def _mark(changes: Overlay, run_id: str, flag: str) -> None:
    for key in (state.run_key(run_id), state.seen_key(run_id)):
        value = changes.get(key)
        if value is not None:
            run = Run.decode(value)
            if not getattr(run, flag):
                changes.put(key, run.model_copy(update={flag: True}).encode())
            return


def end_of(view: View, run_id: str) -> End | None:
    """Return a run's end, or None."""
    value = view.get(state.end_key(run_id))
    return End.decode(value) if value is not None else None


def at_epoch(view: View, envelope: Envelope) -> Envelope:
    """Return the envelope of an event with the epoch that its run has come to since."""
    return in_epoch_of(run_of(view, envelope.run_id), envelope)


def in_epoch_of(run: Run | None, envelope: Envelope) -> Envelope:
    """Return the envelope of an event of *run* with the run's epoch, unless its own is later."""
    if run is None or run.epoch <= envelope.epoch:
        return envelope
    return envelope._replace(epoch=run.epoch)


def begin(run: Run | None, end: End | None, start: Start, runs_position: int) -> StartDecision:
    """Decide what a start event does.

    *runs_position* is the offset up to which the group has read `runs`: an end that it does not
    know of yet lies there or later.
    """
    if end is not None and _began(end, start):
        return Redelivered()
    if end is not None:
        answer = _answer(start, end.fingerprint, end.offset, runs_position)
        epoch = max(end.epoch, run.epoch if run else 0)
        return Repeated(answer, epoch, unbegun=not end.start_event_id)
    if run is None or not run.start_event_id:
        return _begun(run, start, runs_position)
    if _began(run, start):
        return Redelivered()
    answer = _answer(start, run.fingerprint, None, runs_position)
    return Repeated(answer.model_copy(update={"queued": run.queued}), run.epoch)


def admit(end: End | None, epoch: int) -> Admission:
    """Decide what becomes of an event of *epoch*."""
    if end is None or epoch > end.epoch:
        return Admission.RUN
    return Admission.SUSPEND if end.resumable else Admission.DROP


def conclude(run: Run | None, end: End | None, terminal: Lifecycle, place: Place) -> End | None:
    """Return the run's end, or None if *terminal* does not count."""
    known = run or Run()
    so_far = SoFar(known.epoch, end.epoch if end else NO_END)
    if not effective_end.counts(place.epoch, place.offset, so_far):
        return None
    return End(
        outcome=terminal.kind,
        epoch=place.epoch,
        offset=place.offset,
        ended_ms=place.appended_ms,
        seen_ms=known.seen_ms,
        start_event_id=known.start_event_id,
        start_offset=known.start_offset,
        fingerprint=known.fingerprint,
    )


def with_deadline(run: Run, started: Started, appended_ms: int) -> Run | None:
    """Return *run* with its deadline, or None if it has one or needs none."""
    if run.deadline_ms or started.timeout_seconds is None or started.queued:
        return None
    if started.start_event_id != run.start_event_id:
        return None
    return run.model_copy(update={"deadline_ms": _due_ms(appended_ms, started.timeout_seconds)})


def refusal(run: Run | None, end: End | None, epoch: int) -> str:
    """Return why a run cannot be resumed as *epoch*, in a sentence; empty if it can."""
    if end is None:
        return _not_ended(run, epoch)
    if not end.resumable:
        return "the run has completed: there is nothing to resume"
    if run is None or not run.start_event_id:
        return "the run ended before it began: start it again with another run id"
    if epoch != end.epoch + 1:
        return f"the run's end has epoch {end.epoch} and the request epoch {epoch}: look again"
    return ""


def _not_ended(run: Run | None, epoch: int) -> str:
    if run is None:
        return (
            "nothing is kept of the run: it never ran here, or ended more than FLEET_RESUME_DAYS "
            "ago; replay its start event as a new run"
        )
    again = " already" if run.epoch >= epoch else ""
    return f"the run goes on{again}"


def resumed(run: Run, epoch: int, appended_ms: int) -> Run:
    """Return *run* as it continues after a request that was appended at *appended_ms*."""
    deadline_ms = 0
    if run.timeout_seconds is not None:
        deadline_ms = _due_ms(appended_ms, run.timeout_seconds)
    return run.model_copy(update={"epoch": epoch, "deadline_ms": deadline_ms, "queued": False})


def is_new(view: View, run_id: str) -> bool:
    """Tell whether a run has not begun."""
    run = run_of(view, run_id)
    return run is None or run.queued or not run.start_event_id


def queued(begun: Begun) -> Begun:
    """Return what a start decides if its run has to wait for a place."""
    update = {"queued": True}
    return Begun(begun.run.model_copy(update=update), begun.record.model_copy(update=update))


def admitted(run: Run, runs_position: int) -> Begun:
    """Return what begins with a run that has waited for a place."""
    record = _started(run.start_event_id, run.timeout_seconds, run.caller, runs_position)
    return Begun(run.model_copy(update={"queued": False}), record)


def in_order(
    view: View, runs_kept: Iterable[tuple[bytes, bytes]], *, queued: bool
) -> list[tuple[str, Run]]:
    """Return the open runs: first those that have begun, each in the order in which they came.

    *queued*: those alone that wait for a place.
    """
    wanted = (pair for pair in runs_kept if not queued or b'"queued"' in pair[1])
    found = ((key[len(state.RUN) :], Run.decode(value)) for key, value in wanted)
    still_open = [(key, run) for key, run in found if view.get(state.END + key) is None]
    still_open.sort(key=lambda one: (one[1].queued, one[1].seen_ms))
    return [(key.decode(), run) for key, run in still_open]


def _due_ms(appended_ms: int, timeout_seconds: float) -> int:
    # An older version took any timeout into the state.
    return appended_ms + round(min(timeout_seconds, MAX_TIMEOUT_SECONDS) * 1000)


def _began(entry: Run | End, start: Start) -> bool:
    """Tell whether it was this very record that began the run."""
    return entry.start_event_id == start.event_id and entry.start_offset == start.offset


def _begun(run: Run | None, start: Start, runs_position: int) -> Begun:
    seen = run or Run(seen_ms=start.appended_ms)
    return Begun(
        run=seen.model_copy(
            update={
                "start_event_id": start.event_id,
                "start_offset": start.offset,
                "fingerprint": start.fingerprint,
                "timeout_seconds": start.timeout_seconds,
                "caller": start.caller,
            }
        ),
        record=_started(start.event_id, start.timeout_seconds, start.caller, runs_position),
    )


def _started(event_id: str, timeout_seconds: float | None, caller: str, position: int) -> Started:
    parent = Caller.read(caller) if caller else None
    return Started(
        start_event_id=event_id,
        timeout_seconds=timeout_seconds,
        read_from=position,
        parent_workflow=parent.workflow.rpartition(".")[2] if parent else "",
        parent_run=parent.run_id if parent else "",
    )


def _answer(start: Start, fingerprint: str, end_offset: int | None, runs_position: int) -> Known:
    return Known(
        start_event_id=start.event_id,
        end_offset=end_offset,
        read_from=runs_position,
        # A run that was cancelled before its start was read has no fingerprint to compare.
        conflict=bool(fingerprint) and fingerprint != start.fingerprint,
    )


def fingerprint(value: bytes | None) -> str:
    """Return a digest of a start event, the same for any order of its fields."""
    try:
        plain = _CANONICAL.encode(from_json(value or b"")).encode()
    except ValueError:
        plain = value or b""
    return hashlib.blake2b(plain, digest_size=16).hexdigest()
