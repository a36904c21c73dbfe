"""
What runs now, beside a version of its workflow that is not deployed yet.

The state of a step group has suspended work by the names of steps. So it tells beforehand which of
that work a version would have no step for, and which follows `@step(formerly=...)`.
"""

import enum
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from fleet.config.settings import Settings
from fleet.engine.transitions.scopes import Scope
from fleet.engine.transitions.suspended import Suspended
from fleet.kafka import provision, topic_reader
from fleet.kafka.provision import TopicsMissing
from fleet.records import envelope as envelopes
from fleet.records import state
from fleet.records.envelope import BrokenEnvelope
from fleet.records.log import Delivered
from fleet.records.topics import Topics
from fleet.workflow.graph import Graph

#: What is kept of steps, by the first part of its key.
_KINDS = {
    state.SUSPENDED: "due",
    state.WAITING: "waits",
    state.AWAITING_RESUME: "failed",
    state.ITEM: "fan-out",
    state.MEMBER: "join",
    state.SCOPE: "join",
}


class Fate(enum.StrEnum):
    """What becomes of work in the version that is checked."""

    #: A step of this name takes it.
    KNOWN = "known"
    #: A step that had this name takes it.
    FOLLOWS = "follows"
    #: The step takes it, but the event that it waits for is of a type that this process lacks.
    UNKNOWN_EVENT = "unknown_event"
    #: No step takes it: it becomes a dead letter.
    UNKNOWN_STEP = "unknown_step"


@dataclass(frozen=True, slots=True)
class Kept:
    """Work for a step, as the state has it."""

    step: str
    #: What it waits for: its time or an event (`waits`), nothing (`due`), the resume of a run
    #: (`failed`), the rest of a fan-out (`fan-out`, `join`).
    kind: str
    #: The type of its event; empty if its entry does not say it.
    event: str = ""
    #: The type of event that it waits for; empty if it waits for none.
    awaits: str = ""
    #: Whether a class of that type is known here.
    awaits_known: bool = True
    #: Unix milliseconds; 0: its entry does not say it.
    since_ms: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """Work of one kind for one step."""

    fate: Fate
    step: str
    #: The name of the step that takes it; empty if none does.
    now: str
    kind: str
    event: str
    awaits: str
    count: int
    #: Of the oldest, in unix milliseconds; 0: it is not known.
    since_ms: int


@dataclass
class Work:
    """The suspended work of a step group, read from its state."""

    topics: Topics
    _entries: dict[bytes, list[Kept]] = field(default_factory=dict)

    def take(self, record: Delivered) -> None:
        """Take a record of the state topic; the newest of a key counts."""
        key, value = record.key or b"", record.value
        kind = _KINDS.get(key[:2])
        if kind is None:
            return
        self._entries.pop(key, None)
        if value is not None:
            self._entries[key] = list(self._read(key, value, kind))

    def lines(self, graph: Graph) -> list[Line]:
        """Return what becomes of it in the version of *graph*, the worst first."""
        counts: Counter[tuple[Fate, str, str, str, str, str]] = Counter()
        oldest: dict[tuple[Fate, str, str, str, str, str], int] = {}
        for kept in (one for several in self._entries.values() for one in several):
            fate, now = fate_of(graph, kept)
            place = fate, kept.step, now, kept.kind, kept.event, kept.awaits
            counts[place] += 1
            if kept.since_ms:
                oldest[place] = min(oldest.get(place, kept.since_ms), kept.since_ms)
        worst = list(Fate)[::-1]
        ordered = sorted(counts, key=lambda place: (worst.index(place[0]), *place[1:]))
        return [Line(*place, counts[place], oldest.get(place, 0)) for place in ordered]

    def _read(self, key: bytes, value: bytes, kind: str) -> Iterator[Kept]:
        if key.startswith(state.SCOPE):
            scope = Scope.decode(value)
            waiting = (join for join in scope.joins if join[0] not in scope.fired)
            yield from (Kept(join, kind, event) for join, event in waiting)
        elif key.startswith(state.ITEM):
            yield Kept(key.rsplit(b"\0", 1)[1].decode(), kind)
        elif key.startswith(state.MEMBER):
            yield Kept(key.split(b"\0")[3].decode(), kind, value.partition(b"\0")[0].decode())
        else:
            yield from self._suspended(Suspended.decode(value), kind)

    def _suspended(self, entry: Suspended, kind: str) -> Iterator[Kept]:
        # A record of `runs`, or an event of which every step that takes it is meant.
        if entry.topic == self.topics.runs or not entry.step:
            return
        try:
            event = envelopes.parse(entry.record(0).headers).type
        except BrokenEnvelope:
            event = ""
        wait = entry.wait
        yield Kept(
            entry.step,
            kind,
            event,
            wait.awaits if wait is not None else "",
            wait is None or wait.is_known,
            entry.since_ms,
        )


def fate_of(graph: Graph, kept: Kept) -> tuple[Fate, str]:
    """Return what becomes of work, and the name of the step that takes it; empty if none does."""
    step = graph.step_called.get(kept.step)
    if step is None:
        return Fate.UNKNOWN_STEP, ""
    # A join has events of several types; its entries name one of them.
    takers = [one.shown for one in graph.accepting_called(kept.event)] if kept.event else None
    if takers is not None and step.shown not in takers:
        return Fate.UNKNOWN_STEP, ""
    if not kept.awaits_known:
        return Fate.UNKNOWN_EVENT, step.shown
    return (Fate.KNOWN if step.shown == kept.step else Fate.FOLLOWS), step.shown


def stops(lines: list[Line]) -> list[Line]:
    """Return what would become dead letters without anybody resuming a run."""
    return [line for line in lines if line.fate is Fate.UNKNOWN_STEP and line.kind != "failed"]


async def read(running: Topics, settings: Settings) -> Work:
    """Read the suspended work of a step group; raise BrokerUnreachable and TopicsMissing."""
    count = await provision.partitions(running.state, settings)
    if not count:
        raise TopicsMissing([running.state], running.workflow)
    work = Work(running)
    async with topic_reader.connected(settings) as reader:
        await reader.take_all(topic_reader.partitions(running.state, count), work.take)
    return work
