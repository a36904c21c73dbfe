"""
What the transitions of a step group are given, and the draft of a commit that they write into.

A transition is pure: it reads state, and what it decides is a value in the draft: changes of the
state, records to append, dead letters, results of attempts. It returns what must happen beside
the commit. It never waits, reads no clock and does not know Kafka.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from fleet.engine.transitions.refused import Result
from fleet.engine.transitions.scopes import Place
from fleet.engine.transitions.suspended import Suspended, Tries
from fleet.records.dead_letter import DeadLetter
from fleet.records.envelope import Envelope
from fleet.records.events import Event
from fleet.records.lifecycle import Lifecycle
from fleet.records.log import Delivered, Outgoing
from fleet.records.state import Overlay
from fleet.records.topics import Topics
from fleet.workflow.graph import Graph
from fleet.workflow.steps import Step

#: What a record takes besides its value, about, in bytes: key, headers, objects.
_RECORD_BYTES = 1_000


class Wiring(NamedTuple):
    """A step group's graph, and the topics that it reads and writes."""

    graph: Graph
    topics: Topics


class Work(NamedTuple):
    """One step to be run for one event."""

    record: Delivered
    envelope: Envelope
    event: Event
    step: Step
    #: Key of its entry if it is suspended work; empty if the event is open in its topic.
    suspended: bytes = b""
    #: None if no attempt has failed.
    tries: Tries | None = None

    @property
    def attempt(self) -> int:
        """The number of the next attempt, from 1."""
        return 1 if self.tries is None else self.tries.earlier + self.tries.failed + 1


@dataclass
class Draft:
    """What the next commit holds."""

    state: Overlay
    records: list[Outgoing] = field(default_factory=list)
    #: How many steps end with it.
    steps: int = 0
    #: Each dead letter, with the id of its run, or with the key that its record has instead.
    letters: list[tuple[str, DeadLetter]] = field(default_factory=list)
    #: Fan-outs of which something is done: once it is committed, joins may fire.
    scopes: set[Place] = field(default_factory=set)
    #: What attempts have returned, in order.
    results: list[Result] = field(default_factory=list)
    #: When the first of the work is due that it suspends, in unix milliseconds; 0: there is none.
    first_due_ms: int = 0
    #: How many of the records are measured, and their size, in bytes.
    _measured: int = 0
    _size: int = 0

    def measure(self) -> int:
        """Return about how large the draft is, in bytes; looks only at what is new."""
        for record in self.records[self._measured :]:
            self._size += _RECORD_BYTES + len(record.value or b"")
        self._measured = len(self.records)
        return self._size + self.state.written

    def due(self, due_ms: int) -> None:
        """Note that it suspends work until *due_ms*."""
        self.first_due_ms = min(self.first_due_ms or due_ms, due_ms)

    def count_step(self) -> None:
        """Count a step that ends with it."""
        self.steps += 1

    def append_lifecycle(self, topics: Topics, envelope: Envelope, happening: Lifecycle) -> None:
        """Append what happened to a run to its `runs` topic."""
        self.records.append(lifecycle_record(topics, envelope, envelope.event_id, happening))


@dataclass(frozen=True, slots=True)
class Ended:
    """A run has ended: stop its steps in flight."""

    run_id: str
    outcome: str
    #: Broker time since the run's first event.
    seconds: float


@dataclass(frozen=True, slots=True)
class Due:
    """A run has a deadline, in unix milliseconds of broker time."""

    run_id: str
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class RunResumed:
    """A run was resumed: run its suspended work."""

    run_id: str
    #: 0 if it has none.
    deadline_ms: int
    #: With the keys of their entries.
    suspended: list[tuple[bytes, Suspended]]


def lifecycle_record(
    topics: Topics, envelope: Envelope, event_id: str, happening: Lifecycle
) -> Outgoing:
    """Return the record that tells what happened to the run of *envelope*."""
    headers = Envelope(
        run_id=envelope.run_id,
        event_id=event_id,
        type=happening.kind,
        epoch=envelope.epoch,
        traceparent=envelope.traceparent,
    ).headers()
    return Outgoing(topics.runs, envelope.run_id.encode(), happening.encode(), headers)
