"""What must hold of steps that wait for their time: checked as they begin, and in each commit."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from faust.types import TP

from fleet.engine.transitions.suspended import Suspended
from fleet.records import state
from fleet.records.envelope import idempotency_key
from fleet.records.lifecycle import RAISED, RETRIED, SUSPENDED, StepRecord
from fleet.records.partitions import partition_of
from simulation.broker import Broker
from simulation.flow import Try
from simulation.producers import Record, Transaction
from simulation.timed import SHORTEST, SLEEPS
from simulation.worker import TOPICS
from simulation.world import World

#: How far a due time may be before what it is counted from says, in seconds: as the clocks of
#: workers are behind the broker's.
BEHIND_SECONDS = 2.5
#: How much earlier than due an attempt may begin, in milliseconds: times are rounded.
EARLY_MS = 2.0
#: How late work may be woken where nothing goes wrong, in seconds.
LATE_SECONDS = 3.0


@dataclass
class _Known:
    """What the log says of one step and event."""

    failed: int = 0
    #: Until when it has slept, in unix milliseconds: as often as it must for one time.
    slept: set[int] = field(default_factory=set)
    #: Whether its last attempt ended because it waits.
    suspended: bool = False
    #: When its last attempt ended, in unix seconds.
    finished: float = 0.0
    #: When it runs next, in unix milliseconds; 0: at once.
    due_ms: int = 0


@dataclass
class TimingChecks:
    """What must hold of steps that wait for their time, in one history."""

    world: World
    broker: Broker
    partitions: int
    #: Runs that an operator resumes: what waits in them begins at once.
    resumed: frozenset[str]
    #: Whether the broker's clocks are right.
    exact: bool = True
    #: Whether nothing goes wrong.
    calm: bool = False
    #: Since when a worker has had the task of a partition that could commit now, if it has.
    owned_since: Callable[[str, int], float | None] = lambda _worker, _partition: None
    #: What waits in the state, and until when; and the times that are there.
    _waiting: dict[bytes, int] = field(default_factory=dict)
    #: What waits for a version that has its step, and until when.
    _held: dict[bytes, int] = field(default_factory=dict)
    _times: set[bytes] = field(default_factory=set)
    _known: dict[str, _Known] = field(default_factory=lambda: defaultdict(_Known))

    def on_try(self, begun: Try) -> None:
        """A step begins that may have been tried before, or slept."""
        partition = partition_of(begun.run_id, self.partitions)
        if self.owned_since(begun.worker, partition) is None:
            return
        known = self._known[begun.key]
        # A resumed run begins with what is decided, and the failure may not be committed yet.
        expected = begun.number == known.failed + 1
        if not expected and not (begun.run_id in self.resumed and begun.number > known.failed):
            told = f"attempt {begun.number} of {begun.key} begins, and {known.failed} failed before"
            self.world.violate(told)
        if self.exact and begun.run_id not in self.resumed:
            early = known.due_ms - self.broker.time_of(TP(TOPICS.runs, partition)) * 1000
            if early > EARLY_MS:
                self.world.violate(f"a step of {begun.run_id} begins {early} ms before it is due")

    def on_commit(self, transaction: Transaction) -> None:
        """A transaction is committed."""
        records = [record for part in transaction.parts.values() for record in part]
        for record in records:
            if record.topic == TOPICS.history:
                self._note(record)
        for record in records:
            if record.topic == TOPICS.state:
                self._note_change(record.key or b"", record.value, record.timestamp)
        waits = [*self._waiting.items(), *self._held.items()]
        times = {state.due_key(due_ms, key) for key, due_ms in waits if due_ms}
        if times != self._times:
            self.world.violate(f"times and what waits for them differ: {times ^ self._times}")

    def _note_change(self, key: bytes, value: bytes | None, now_ms: int) -> None:
        if key.startswith(state.DUE):
            (self._times.discard if value is None else self._times.add)(key)
        elif key.startswith(state.SUSPENDED):
            self._held.pop(key, None)
            if value is not None and (due_ms := Suspended.decode(value).due_ms):
                self._held[key] = due_ms
        elif key.startswith(state.WAITING):
            due_ms = self._waiting.pop(key, 0)
            late = (now_ms - due_ms) / 1000
            if due_ms and value is None and self.calm and late > LATE_SECONDS:
                self.world.violate(f"{key!r} is woken {late} s late")
            if value is not None:
                self._waiting[key] = Suspended.decode(value).due_ms
            self._note_due(key, self._waiting.get(key, 0))

    def _note_due(self, waiting: bytes, due_ms: int) -> None:
        event_id, step = waiting.split(b"\0")[-2:]
        known = self._known[idempotency_key(event_id.decode(), step.decode())]
        # One that waits no more begins at once: its run was resumed, or it was woken in time.
        known.due_ms = due_ms
        if due_ms and known.suspended:
            known.slept.add(due_ms)
            if len(known.slept) > len(SLEEPS):
                self.world.violate(f"{step.decode()} of {event_id.decode()} sleeps again")
        wait = due_ms / 1000 - known.finished
        if due_ms and self.exact and wait < SHORTEST - BEHIND_SECONDS:
            self.world.violate(f"{step.decode()} of {event_id.decode()} waits for {wait} s")

    def _note(self, record: Record) -> None:
        told = StepRecord.decode(record.value or b"")
        known = self._known[idempotency_key(told.event_id, told.step)]
        known.failed += told.outcome in (RETRIED, RAISED)
        known.suspended = told.outcome == SUSPENDED
        known.finished = told.finished
