"""
What must hold in every history.

Checked when each transaction is decided, when each attempt begins, and at the end: from the log and
from what the attempts themselves noted, not from what the engine believes.
"""

from typing import TYPE_CHECKING, Any

from faust.types import TP
from pydantic_core import from_json

from fleet.engine.loading.guarded_store import StoreFailed
from fleet.engine.transitions.runs import End
from fleet.records import envelope as envelopes
from fleet.records import lifecycle, state
from fleet.records.envelope import Envelope, idempotency_key
from fleet.records.errors import FleetError
from fleet.records.events import type_name
from fleet.records.lifecycle import (
    Cancelled,
    Completed,
    Failed,
    Known,
    Lifecycle,
    Resumed,
    Resumption,
    Started,
    StepRecord,
    TimedOut,
)
from fleet.records.nested.caller import ENDED
from fleet.records.partitions import partition_of
from fleet.workflow import definition
from fleet.workflow.definition import Definition
from fleet.workflow.steps import Step
from simulation.broker import Broker
from simulation.flow import SHOWING, Attempt, Laboratory, Order
from simulation.grown import FLOWS
from simulation.plan import RunPlan
from simulation.producers import Record, Transaction
from simulation.waited import Nod
from simulation.worker import TOPICS
from simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

#: Every event type of the histories.
_TYPES = {name for flow in FLOWS.values() for name in definition.graph(flow).accepting}
#: Steps of events that come from outside, also after the end of their run.
_FROM_OUTSIDE = ("listen", "heed")
_LIFECYCLE = {
    record.kind
    for record in (Started, Known, Completed, Failed, Cancelled, TimedOut, Resumed, Resumption)
}
_EVENTS = {TOPICS.event(name) for name in _TYPES}
#: In the key of what is kept of a record of `runs`, as `Task._happen` gives it.
_OF_RUNS = b"\0runs "
_START = TOPICS.event(type_name(Order))
#: How far the clocks of two workers may be apart, in seconds.
CLOCK_SECONDS = 2.5


class Checks:
    """The promises of one history."""

    def __init__(
        self,
        world: World,
        broker: Broker,
        laboratory: Laboratory,
        partitions: int,
        flow: type[Definition],
    ) -> None:
        #: Of the version that knows all types.
        self._graph = definition.graph(flow)
        self._world = world
        self._broker = broker
        self._partitions = partitions
        self._attempts = laboratory.attempts
        self._laboratory = laboratory
        #: Since when a worker has had the task of a partition that could commit now, if it has.
        self.owned_since: Callable[[str, int], float | None] = lambda _worker, _partition: None
        #: How many steps a worker may have begun in a partition and not committed, in a crowd; and
        #: those it has, by worker, partition and since when it has had that, and where each counts.
        self.most_uncommitted = 0
        self._uncommitted: dict[tuple[str, int, float], set[str]] = {}
        self._counted_at: dict[str, tuple[str, int, float]] = {}
        #: Steps whose result is committed, by the key that all attempts of one share.
        self.committed: set[str] = set()
        #: The attempt of each of them, where its result tells.
        self._effective: dict[str, int] = {}
        #: The changelog of each partition, compacted.
        self.state: dict[int, dict[bytes, bytes]] = {each: {} for each in range(partitions)}
        #: Ends of runs, the first one in the log of each epoch; those before the last resumption;
        #: and start events that were answered.
        self.ends: dict[str, Lifecycle] = {}
        self._earlier: dict[str, list[Lifecycle]] = {}
        #: The epoch of each run that was resumed, and the one that somebody asked for last.
        self._epochs: dict[str, int] = {}
        self._asked: dict[str, int] = {}
        #: Requests to resume that were not answered, and steps that raised, by run.
        self._requests: set[str] = set()
        self._raised: dict[str, set[str]] = {}
        #: Attempts that show something and were committed before their run completed, by run.
        self.shown: dict[str, list[int]] = {}
        self._completing: set[str] = set()
        self._ended_at: dict[str, float] = {}
        self._answered: set[str] = set()
        #: Start events that began a run, and records that were buried, by topic and place.
        self.begun: dict[str, str] = {}
        #: Runs of which the group has committed that they ended, and those it has forgotten.
        self._concluded: set[str] = set()
        self._forgotten: set[bytes] = set()
        #: When that was, by run.
        self._forgotten_at: dict[str, float] = {}
        #: Work that waited for a version of a run that was forgotten: its start never came.
        self._given_up: set[bytes] = set()
        self._buried: set[tuple[str, int, int]] = set()
        #: Events that a join has had, by event id and step.
        self._joined: set[tuple[str, str]] = set()
        self._read: dict[int, int] = {}
        #: The logs are others now, so nothing of them tells anything.
        self.over = False
        broker.on_commit.append(self._on_commit)
        laboratory.on_attempt = self._on_attempt

    # -- as it happens --------------------------------------------------------------------------

    @property
    def tokens(self) -> int:
        """How many events an attempt shows."""
        return self._laboratory.tokens

    def offset(self, tp: TP, offset: int) -> None:
        """An offset that the group commits: nothing below it may be undone."""
        if self.over:
            return
        self._read_runs(tp.partition)
        for record in self._broker.at(tp).read(0, len(self._broker.at(tp).entries))[0]:
            if record.offset < offset and not self.is_settled(record):
                self._world.violate(
                    f"offset {offset} of {tp} is beyond unfinished {record.offset} of "
                    f"{(record.key or b'').decode()}"
                )

    def _begins_again(self, run_id: str, partition: int) -> bool:
        """Tell whether a start of a run came after its end was forgotten.

        It may be under way for longer than ends are remembered.
        """
        forgotten = self._forgotten_at.get(run_id)
        starts = self._broker.at(TP(_START, partition)).records() if forgotten else ()
        came = [one.true for one in starts if one.key == run_id.encode()]
        return forgotten is not None and max(came, default=0.0) > forgotten

    def _on_attempt(self, attempt: Attempt) -> None:
        if self.over:
            return
        partition = partition_of(attempt.run_id, self._partitions)
        self._read_runs(partition)
        owned_since = self.owned_since(attempt.worker, partition)
        if owned_since is not None:
            if attempt.key in self.committed:
                self._world.violate(f"attempt {attempt.number} of a step that is committed")
            ended = self._ended_at.get(attempt.run_id, self._world.now)
            outside = attempt.step in _FROM_OUTSIDE and not attempt.made_by
            known = attempt.run_id in self._concluded
            begins_again = self._begins_again(attempt.run_id, partition)
            if (known or ended < owned_since) and not (outside or begins_again):
                self._world.violate(f"attempt {attempt.number} of a run that has ended")
            if self.most_uncommitted and attempt.run_id.startswith("crowd"):
                self._count(attempt, (attempt.worker, partition, owned_since))
        for made_by in attempt.made_by:
            if self._effective.get(self._attempts[made_by - 1].key) != made_by:
                self._world.violate(f"attempt {attempt.number} sees what attempt {made_by} left")

    def _count(self, attempt: Attempt, owner: tuple[str, int, float]) -> None:
        """Nobody works on without an end while nothing is committed."""
        begun = self._uncommitted.setdefault(owner, set())
        begun.add(attempt.key)
        self._counted_at[attempt.key] = owner
        if len(begun) > self.most_uncommitted:
            self._world.violate(f"{attempt.worker} has {len(begun)} steps that are not committed")

    def _on_commit(self, transaction: Transaction) -> None:
        records = [record for part in transaction.parts.values() for record in part]
        if not records or self.over:
            return
        # Of runs that steps start, records go to other partitions, too.
        partition = int(transaction.owner.rpartition("-")[2])
        self._read_runs(partition)
        self._check_resumptions(partition, records)
        steps = self._steps(records)
        self._note_buried(records)
        self._check_outputs(records, steps)
        self._note_shown(records, steps)
        changes = [record for record in records if record.topic == TOPICS.state]
        self._note_given_up(changes)
        before = dict(self.state[partition])
        self._check_kept(changes, before)
        for change in changes:
            assert change.key is not None
            self._note_joined(change.key, change.value)
            if change.key.startswith(state.END):
                self._note_end(change.key, before.get(change.key), change.value)
            if change.value is None:
                self.state[partition].pop(change.key, None)
            else:
                self.state[partition][change.key] = change.value
        for change in changes:
            assert change.key is not None
            if change.key.startswith(state.POSITION):
                self._check_position(partition, change.key, before, records)

    def _note_joined(self, key: bytes, value: bytes | None) -> None:
        """A join has an event, or a step is done with one of a fan-out."""
        if value is not None and key.startswith(state.MEMBER):
            step, _, event_id = key.split(b"\0")[-3:]
            self._joined.add((event_id.decode(), step.decode()))
        elif value is None and key.startswith(state.ITEM):
            event_id, step = key.split(b"\0")[-2:]
            self._joined.add((event_id.decode(), step.decode()))

    def _note_given_up(self, changes: list[Record]) -> None:
        removed = {change.key or b"" for change in changes if change.value is None}
        put = {change.key or b"" for change in changes if change.value is not None}
        for key in removed:
            run_id = key[len(state.SEEN) :].decode()
            if key.startswith(state.SEEN) and not put & {state.run_key(run_id), key}:
                kept = state.awaiting_prefix(run_id), state.suspended_prefix(run_id)
                self._given_up |= {each for each in removed if each.startswith(kept)}

    def _check_kept(self, changes: list[Record], before: dict[bytes, bytes]) -> None:
        """What an older version does not know of a run goes only where the run has ended."""
        put = {change.key for change in changes if change.value is not None}
        gone = {change.key for change in changes if change.value is None}
        for key in gone:
            if key is None or not key.startswith(state.SUSPENDED) or _OF_RUNS not in key:
                continue
            run_id = key[len(state.SUSPENDED) :].split(b"\0")[0].decode()
            ends, began = state.end_key(run_id), state.seen_key(run_id)
            if key in before and not (ends in put or ends in before or began in gone):
                self._world.violate(f"what a newer version wrote of {run_id} is forgotten")

    def _note_end(self, key: bytes, before: bytes | None, after: bytes | None) -> None:
        run_id = key[len(state.END) :].decode()
        if after is not None and End.decode(after).epoch >= self._asked.get(run_id, 0):
            self._concluded.add(run_id)
        if before is None or before == after:
            return
        if after is None:
            resumed = self._epochs.get(run_id, 0) > End.decode(before).epoch
        else:
            # Also where the next end of the same id is in the same commit.
            resumed = End.decode(after).epoch > End.decode(before).epoch
        if not resumed:
            self._forgotten.add(key)
            self._forgotten_at[run_id] = self._world.now

    def _check_resumptions(self, partition: int, records: list[Record]) -> None:
        """A request that could have been met was."""
        changed = {record.key for record in records if record.topic == TOPICS.state}
        for record in records:
            envelope = envelopes.parse(record.headers) if record.topic == TOPICS.runs else None
            if envelope is None or envelope.type != Resumption.kind:
                continue
            refused = Resumption.model_validate_json(record.value or b"").refused
            end_key, run_key = state.end_key(envelope.run_id), state.run_key(envelope.run_id)
            end, run = (self.state[partition].get(each) for each in (end_key, run_key))
            # What another record of this commit has changed is not what the request met.
            if refused and end and run and end_key not in changed:
                ended = End.decode(end)
                if ended.resumable and ended.epoch + 1 == envelope.epoch:
                    self._world.violate(f"{envelope.run_id} is not resumed: {refused}")

    def _steps(self, records: list[Record]) -> dict[str, StepRecord]:
        """Return the step records of a transaction; each step may have one in all."""
        found = {}
        for record in records:
            if record.topic == TOPICS.history:
                step = StepRecord.decode(record.value or b"")
                key = idempotency_key(step.event_id, step.step)
                if key in self.committed:
                    self._world.violate(f"{step.step} of {step.event_id} is committed again")
                found[key] = step
                self._note_step(key, step, envelopes.parse(record.headers))
        return found

    def _note_step(self, key: str, step: StepRecord, envelope: Envelope) -> None:
        owner = self._counted_at.pop(key, None)
        if owner is not None:
            self._uncommitted[owner].discard(key)
        if step.outcome in ("retried", "suspended"):
            # It begins again, when its time has come.
            return
        if step.outcome != "raised" or step.sent:
            # A handler has what was raised.
            self.committed.add(key)
        elif envelope.epoch >= self._asked.get(envelope.run_id, 0):
            # Not to run again until somebody asks for it.
            self.committed.add(key)
            self._raised.setdefault(envelope.run_id, set()).add(key)

    def _check_outputs(self, records: list[Record], steps: dict[str, StepRecord]) -> None:
        """All that an attempt returned is there, and nothing of another one."""
        seen: dict[str, int] = {}
        for record in records:
            by = _made_by(record)
            if by is None:
                continue
            attempt = self._attempts[by - 1]
            if self._is_late_result(record, by):
                continue
            if self._effective.setdefault(attempt.key, by) != by or attempt.key not in steps:
                self._world.violate(f"attempt {by} is visible and its step is not")
            seen[attempt.key] = seen.get(attempt.key, 0) + 1
            if record.topic == TOPICS.runs and not self._was_shown(record, by):
                self._world.violate(f"attempt {by} is committed before what it shows")
        for key, step in steps.items():
            # What no step takes the stream tells; see `queued`.
            sent = [kind for kind in step.sent if kind != "Stray"]
            if step.outcome == "raised":
                # To the handler alone.
                sent = []
            if len(sent) != seen.get(key, 0):
                self._world.violate(f"{step.step} sent {sent}, {seen.get(key, 0)} are visible")

    def _note_shown(self, records: list[Record], steps: dict[str, StepRecord]) -> None:
        """Note whose events every reader must have seen when its run completes."""
        for key in steps:
            by = self._effective.get(key)
            if by is not None:
                attempt = self._attempts[by - 1]
                if attempt.step in SHOWING and attempt.run_id not in self._completing:
                    self.shown.setdefault(attempt.run_id, []).append(by)
        for record in records:
            if record.topic == TOPICS.runs:
                headers = dict(record.headers)
                if headers["fleet-type"] == Completed.kind.encode():
                    self._completing.add(headers["fleet-run-id"].decode())

    def attempt(self, number: int) -> Attempt:
        """Return an attempt by its number."""
        return self._attempts[number - 1]

    def is_shown_over(self, by: int) -> bool:
        """Whether another attempt of its step has shown something that readers may take for newer.

        Not one that began long before: clocks of workers tell those apart. Also not what began
        later and does not count: a worker that is cut off begins steps that are not its own any
        more, and nobody can tell before it commits.
        """
        own = self._attempts[by - 1]
        for record in self._broker.topic(TOPICS.stream):
            other = from_json(record.value or b"").get("by", 0)
            if other and other != by:
                attempt = self._attempts[other - 1]
                if attempt.key == own.key and attempt.began > own.began - CLOCK_SECONDS:
                    return True
        return False

    def _is_late_result(self, record: Record, by: int) -> bool:
        """Whether it is a result that was committed too late, for the epoch that came after."""
        attempt, epoch = self._attempts[by - 1], envelopes.parse(record.headers).epoch
        return (
            bool(epoch) and record.topic == TOPICS.runs and self._effective.get(attempt.key) == by
        )

    def _was_shown(self, record: Record, by: int) -> bool:
        log = self._broker.at(TP(TOPICS.stream, record.partition))
        return any(from_json(each.value or b"").get("text") == str(by) for each in log.records())

    def _note_buried(self, records: list[Record]) -> None:
        for record in records:
            if record.topic == TOPICS.dead:
                letter = from_json(dict(record.headers)["fleet-dead-letter"])
                self._check_given_up(record, letter["reason"])
                if not letter["step"]:
                    self._buried.add((letter["topic"], letter["partition"], letter["offset"]))

    def _check_given_up(self, record: Record, reason: str) -> None:
        """What another version knows waits for it."""
        kind = dict(record.headers).get("fleet-type", b"").decode()
        if reason == "unknown_type" and kind in self._graph.accepting:
            self._world.violate(f"a version that does not know {kind} has given up on one")
        if reason == "unknown_lifecycle" and kind not in _LIFECYCLE:
            self._world.violate(f"a newer version's {kind} is given up")

    def _check_position(
        self, partition: int, key: bytes, before: dict[bytes, bytes], records: list[Record]
    ) -> None:
        """What a position says is done is done."""
        tp = TP(key[len(state.POSITION) :].decode(), partition)
        old_next, old_pending = _position(before.get(key))
        new_next, new_pending = _position(self.state[partition][key])
        log = self._broker.at(tp)
        if new_next < old_next or new_next > log.end:
            self._world.violate(f"the position of {tp} goes from {old_next} to {new_next}")
            return
        done = (set(range(old_next, new_next)) | old_pending) - new_pending
        for offset in sorted(done):
            record = log.visible(offset)
            if record is not None and not self.is_settled(record, records):
                self._world.violate(f"{tp} {offset} is said to be done and is not")

    # -- what is done -----------------------------------------------------------------------------

    def is_settled(self, record: Record, now: list[Record] | None = None) -> bool:
        """Whether everything that a record asks for is done."""
        if record.topic not in _EVENTS and record.topic != TOPICS.inbox:
            return True
        if (record.topic, record.partition, record.offset) in self._buried:
            return True
        try:
            envelope = envelopes.parse(record.headers)
        except envelopes.BrokenEnvelope:
            return False
        if envelope.type not in self._graph.accepting:
            # A nod has ended a wait, or is kept for one: see `wait_checks`. And the end of a run is
            # noted, or nobody awaits it: see `nested_checks`.
            return envelope.type in (type_name(Nod), ENDED)
        if record.topic == _START and self._is_answered(envelope, now or []):
            return True
        steps = self._steps_for(envelope)
        return all(
            self._is_done(envelope, step.name, record.partition)
            or (step.is_join and (envelope.event_id, step.name) in self._joined)
            for step in steps
        )

    def is_worked(self, record: Record) -> bool:
        """Whether steps take a record, and each of them has committed what it gave for it."""
        try:
            envelope = envelopes.parse(record.headers)
        except envelopes.BrokenEnvelope:
            return False
        if partition_of(envelope.run_id, self._partitions) != record.partition:
            # A copy that went astray: nobody works on it.
            return False
        steps = self._steps_for(envelope)
        return bool(steps) and all(
            idempotency_key(envelope.event_id, step.name) in self.committed for step in steps
        )

    def _steps_for(self, envelope: Envelope) -> list[Step]:
        accepting = self._graph.accepting.get(envelope.type, ())
        return [step for step in accepting if envelope.step in ("", step.name)]

    def _is_answered(self, envelope: Envelope, now: list[Record]) -> bool:
        """Whether a start event was told that its run is known."""
        for record in now:
            self._note_answer(record)
        return envelope.event_id in self._answered

    def _is_done(self, envelope: Envelope, step: str, partition: int) -> bool:
        if idempotency_key(envelope.event_id, step) in self.committed:
            return True
        end = self.ends.get(envelope.run_id)
        if isinstance(end, Completed):
            return True
        kept, gone = self.state[partition], state.end_key(envelope.run_id) in self._forgotten
        # Without a step's name: an event that waits for a version which has a step for it.
        places = [(envelope.run_id, envelope.event_id, name) for name in (step, "")]
        kinds = state.awaiting_key, state.suspended_key, state.waiting_key
        keys = [key(*each) for each in places for key in kinds]
        suspended = any(key in kept or key in self._given_up for key in keys)
        # Between the request to resume and its answer, work that waits is still where it was.
        return suspended or (gone and end is not None)

    def _read_runs(self, partition: int) -> None:
        log = self._broker.at(TP(TOPICS.runs, partition))
        found, self._read[partition] = log.read(self._read.get(partition, 0), len(log.entries))
        for record in found:
            try:
                envelope = envelopes.parse(record.headers)
                happening = lifecycle.decode(envelope.type, record.value or b"")
            except FleetError:
                # Somebody else has written it.
                continue
            self._note_answer(record)
            self._note_resuming(envelope, happening)
            is_old = envelope.epoch < self.epoch(envelope.run_id)
            if happening.terminal and envelope.run_id not in self.ends and not is_old:
                self._world.note("log", f"{envelope.run_id} has ended: {happening.kind}")
                self.ends[envelope.run_id] = happening
                self._ended_at[envelope.run_id] = self._world.now
            if isinstance(happening, Failed) and happening.failure.type == StoreFailed.__name__:
                self._world.violate(f"{envelope.run_id} fails because of a worker's disk")
            if isinstance(happening, Started):
                self.begun.setdefault(envelope.run_id, happening.start_event_id)

    def _note_resuming(self, envelope: Envelope, happening: Lifecycle) -> None:
        run_id = envelope.run_id
        if isinstance(happening, Resumed):
            self._requests.add(envelope.event_id)
            if isinstance(self.ends.get(run_id), Completed | None):
                return
            if envelope.epoch == self.epoch(run_id) + 1:
                # From now on its steps may begin again.
                self._asked[run_id] = envelope.epoch
                self._concluded.discard(run_id)
                self._ended_at.pop(run_id, None)
                self.committed -= self._raised.pop(run_id, set())
        elif isinstance(happening, Resumption):
            self._requests.discard(happening.request_id)
            if not happening.refused:
                self._world.note("log", f"{run_id} goes on")
                self._epochs[run_id] = envelope.epoch
                if run_id in self.ends:
                    self._earlier.setdefault(run_id, []).append(self.ends.pop(run_id))
                else:
                    self._world.violate(f"{run_id} is resumed and had not ended")

    def _note_answer(self, record: Record) -> None:
        headers = dict(record.headers)
        if record.topic == TOPICS.runs and headers["fleet-type"] == Known.kind.encode():
            self._answered.add(Known.model_validate_json(record.value or b"").start_event_id)

    # -- at the end -----------------------------------------------------------------------------

    def read(self) -> None:
        """Look at what is new in the log."""
        for partition in range(self._partitions):
            self._read_runs(partition)

    def epoch(self, run_id: str) -> int:
        """Return how often a run was resumed."""
        return self._epochs.get(run_id, 0)

    def every_end(self, run_id: str) -> list[Lifecycle]:
        """Return a run's effective ends, one for each epoch."""
        last = self.ends.get(run_id)
        return [*self._earlier.get(run_id, ()), *([last] if last else [])]

    def unanswered(self) -> list[str]:
        """Return the requests to resume that nobody answered."""
        return [f"{request} is not answered" for request in sorted(self._requests)]

    def undone(self) -> list[str]:
        """Return the events that were not worked on though their runs go on."""
        return [
            f"{topic} {record.partition} {record.offset} is not done"
            for topic in sorted(_EVENTS | {TOPICS.inbox})
            for record in self._broker.topic(topic)
            if not self.is_settled(record)
        ]

    def began_with(self, run_id: str) -> int | None:
        """Return the number of parts of the start event that began a run."""
        for record in self._broker.topic(_START):
            if dict(record.headers).get("fleet-event-id") == self.begun.get(run_id, "").encode():
                parts: int = from_json(record.value or b"")["parts"]
                return parts
        return None

    def result(self, run_id: str) -> Any:
        """Return the effective end's result event, or None where it has none."""
        end = self.ends[run_id]
        return from_json(end.event) if isinstance(end, Completed) else None

    def result_is_right(self, run_id: str) -> None:
        """The effective end holds what the committed steps give."""
        result = self.result(run_id)
        if result is None:
            return
        for by in (result["by"], result["begun"]):
            attempt = self._attempts[by - 1]
            if self._effective.get(attempt.key, by) != by:
                self._world.violate(f"{run_id} ends with attempt {by}, which is not committed")

    def suspects_are_right(self, run: RunPlan) -> None:
        """Nobody is taken for a step that ends its process but the one that does."""
        end = self.ends.get(run.run_id)
        condemned = isinstance(end, Failed) and end.failure.type == "CrashesWorker"
        if condemned is not run.raises.startswith("kill"):
            self._world.violate(f"{run.run_id} ends with {end}")

    def state_is_empty(self) -> bool:
        """Whether nothing is kept but positions."""
        return not any(self.left())

    def left(self) -> list[bytes]:
        """Return the keys that are not positions."""
        fixed = (state.POSITION, state.META)
        return [key for each in self.state.values() for key in each if not key.startswith(fixed)]


def _made_by(record: Record) -> int | None:
    """Return the attempt that sent a record."""
    if record.topic in _EVENTS:
        value = from_json(record.value or b"")
    elif record.topic == TOPICS.runs:
        headers = dict(record.headers)
        if headers["fleet-type"] != Completed.kind.encode():
            return None
        value = from_json(Completed.model_validate_json(record.value or b"").event)
    else:
        return None
    by: int = value.get("by", 0)
    return by or None


def _position(value: bytes | None) -> tuple[int, set[int]]:
    if value is None:
        return 0, set()
    following, pending, *_ = from_json(value)
    return following, set(pending)
