"""
Which records of a topic a replay takes, and why not the others.

`Selector` is pure: it needs the record and the plan alone. So a replay that continues decides as it
did before. `look` and `rest` count the records before anything is sent.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from aiokafka import TopicPartition
from pydantic_core import from_json

from fleet.config.settings import Settings
from fleet.control import times
from fleet.control.replay.plan import Bounds, Filter, Place, Plan, Target
from fleet.control.source import Source
from fleet.kafka import topic_reader
from fleet.kafka.topic_reader import Span, TopicReader
from fleet.records import envelope as envelopes
from fleet.records.envelope import BrokenEnvelope, Envelope
from fleet.records.errors import ExitCode, FleetError
from fleet.records.events import Event, UndecodableEvent, decoded, type_name
from fleet.records.log import Delivered
from fleet.records.partitions import partition_of

#: By partition of the topic.
Spans = Mapping[int, Span]

_BATCH = 2_000


class NoPartition(FleetError):
    """Raised when the topic does not have a named partition.

    What to do: Name a partition of the topic: the message has their numbers.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, topic: str, partition: int, count: int) -> None:
        super().__init__(
            f"{topic} has no partition {partition}; its partitions are 0 to {count - 1}"
        )


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a record that meets the conditions becomes no run."""

    reason: str


class Selector:
    """Decides about each record of one topic."""

    def __init__(
        self, rules: Filter, *, event: type[Event] | None, begins: bool, max_replays: int
    ) -> None:
        """*event* is the type that begins the new runs; None if the replay copies records.

        With *begins* it takes only events that began a run before.
        """
        self._conditions = rules.conditions
        self._run_ids = frozenset(rules.run_ids)
        self._event = event
        self._begins = begins
        self._max_replays = max_replays

    def decide(self, record: Delivered) -> Envelope | Refused | None:
        """Return the envelope of a record to take, or why not; None if it meets no condition.

        The envelope of a record to copy may be empty.
        """
        if self._run_ids and (record.key or b"").decode(errors="replace") not in self._run_ids:
            return None
        if self._conditions and not self._meets(record):
            return None
        try:
            envelope = envelopes.parse(record.headers)
        except BrokenEnvelope:
            if self._event is None:
                return Envelope(run_id="", event_id="", type="")
            return Refused("had no headers of a run")
        return envelope if self._event is None else self._starting(record, envelope, self._event)

    def _meets(self, record: Delivered) -> bool:
        try:
            fields = from_json(record.value or b"")
        except ValueError:
            return False
        return all(condition.holds(fields) for condition in self._conditions)

    def _starting(
        self, record: Delivered, envelope: Envelope, event: type[Event]
    ) -> Envelope | Refused:
        if envelope.replays >= self._max_replays:
            return Refused(f"were replayed too often, {_times(envelope.replays)} (--max-replays)")
        if envelope.type != type_name(event):
            return Refused(f"had another type ({envelope.type})")
        if self._begins and envelope.parent_id:
            return Refused("a step of a run had sent (`--context empty` takes those, too)")
        try:
            decoded(event, record.value or b"")
        except UndecodableEvent:
            return Refused(f"cannot be read as {type_name(event)} now")
        return envelope


def selector(plan: Plan, target: Target) -> Selector:
    """Return the selector of a plan; raises UnreadableCondition."""
    return Selector(
        plan.rules,
        event=None if plan.to_topic else target.event,
        begins=target.is_start and plan.context is None,
        max_replays=plan.max_replays,
    )


@dataclass(slots=True)
class Found:
    """The counts of a pass over spans."""

    spans: Spans
    #: Records to take, by partition.
    counts: Counter[int] = field(default_factory=Counter)
    #: Records that meet the conditions and cannot be taken, by reason.
    refused: Counter[str] = field(default_factory=Counter)
    #: How many of the records to take came from a replay.
    replayed: int = 0
    #: All records.
    read: int = 0

    @property
    def total(self) -> int:
        """How many records to take."""
        return self.counts.total()

    def take(self, record: Delivered, selector: Selector) -> None:
        """Count the next record."""
        self.read += 1
        verdict = selector.decide(record)
        if isinstance(verdict, Refused):
            self.refused[verdict.reason] += 1
        elif verdict is not None:
            self.counts[record.partition] += 1
            self.replayed += verdict.replays > 0


async def look(
    source: Source,
    plan: Plan,
    bounds: Bounds,
    selector: Selector,
    progress: Callable[[int, int], object],
) -> Found:
    """Count the records that a plan takes within *bounds*; its own spans are not known yet.

    It calls *progress* with the number of offsets it has passed, and their total. Raises
    NoPartition, BrokerUnreachable, TopicsMissing and TopicsMismatched.
    """
    count = await source.partitions()
    numbers = list(range(count))
    if strange := bounds.partitions - set(numbers):
        raise NoPartition(plan.topic, min(strange), count)
    if plan.rules.run_ids:
        numbers = sorted({partition_of(run_id, count) for run_id in plan.rules.run_ids})
    async with topic_reader.connected(source.settings) as reader:
        spans = await _spans(reader, topic_reader.partitions(plan.topic, numbers), bounds)
        if bounds.limit is not None:
            spans = await _oldest(reader, plan.topic, spans, selector, bounds.limit)
        found = Found(spans)
        await _count(reader, plan.topic, found, selector, progress)
        return found


async def _oldest(
    reader: TopicReader, topic: str, spans: Spans, selector: Selector, limit: int
) -> Spans:
    """Cut *spans* so that they hold the oldest *limit* records to take."""
    places: dict[int, list[tuple[int, int]]] = {number: [] for number in spans}
    async for batch in reader.read(of(topic, spans), max_records=_BATCH):
        for record in batch.delivered():
            here = places[record.partition]
            # Later records of a partition that has as many are not among the oldest.
            if len(here) < limit and isinstance(selector.decide(record), Envelope):
                here.append((record.appended_ms, record.offset))
    ends = oldest(places, limit)
    return {number: (spans[number][0], end) for number, end in ends.items()}


async def _spans(reader: TopicReader, tps: list[TopicPartition], bounds: Bounds) -> Spans:
    since_ms = times.milliseconds(bounds.since) if bounds.since is not None else None
    spans = await reader.spans(tps, since_ms)
    if bounds.until is not None:
        ends = await reader.from_times(dict.fromkeys(tps, times.milliseconds(bounds.until)))
        # Records that were appended since then stay outside.
        spans = {tp: (start, min(end, ends.get(tp, end))) for tp, (start, end) in spans.items()}
    return bounded({tp.partition: span for tp, span in spans.items()}, bounds.first, bounds.last)


async def _count(
    reader: TopicReader,
    topic: str,
    found: Found,
    selector: Selector,
    progress: Callable[[int, int], object],
) -> None:
    total = sum(max(0, end - start) for start, end in found.spans.values())
    done = dict.fromkeys(found.spans, 0)
    async for batch in reader.read(of(topic, found.spans), max_records=_BATCH):
        for record in batch.delivered():
            found.take(record, selector)
        for tp, position in batch.positions.items():
            done[tp.partition] = position - found.spans[tp.partition][0]
        progress(sum(done.values()), total)


async def rest(
    settings: Settings, plan: Plan, selector: Selector, positions: Mapping[int, int]
) -> Found:
    """Count the records that a replay has left; raises BrokerUnreachable."""
    spans = {number: (positions[number], end) for number, (_, end) in plan.spans.items()}
    found = Found(spans)
    async with topic_reader.connected(settings) as reader:
        await _count(reader, plan.topic, found, selector, lambda _done, _total: None)
    return found


def of(topic: str, spans: Spans) -> dict[TopicPartition, Span]:
    """Return spans by partition of *topic*, for `TopicReader`."""
    return {TopicPartition(topic, partition): span for partition, span in spans.items()}


def is_own(source: Source, topic: str) -> bool:
    """Tell whether *topic* is one of the workflow's own."""
    return topic.startswith(f"{source.settings.prefix}.{source.topics.workflow}.")


def bounded(spans: Spans, first: Iterable[Place], last: Iterable[Place]) -> Spans:
    """Cut *spans* at the *first* and *last* offsets, both inclusive.

    If they name partitions, the others are left out.
    """
    first, last = list(first), list(last)
    named = {place.partition for place in (*first, *last)} - {None}
    return {
        partition: (
            max([start, *_offsets(first, partition)]),
            min([end, *(offset + 1 for offset in _offsets(last, partition))]),
        )
        for partition, (start, end) in spans.items()
        if not named or partition in named
    }


def oldest(found: Mapping[int, Sequence[tuple[int, int]]], limit: int) -> dict[int, int]:
    """Return the ends of the partitions before which the oldest *limit* records are.

    *found*: append times and offsets by partition, in its order. The result has the partitions of
    these records alone.
    """
    every = sorted(
        (at, partition, offset)
        for partition, places in found.items()
        # A cut is at one offset, so times must not fall, as they may after a change of leader.
        for at, (_, offset) in zip(accumulate((at for at, _ in places), max), places, strict=True)
    )
    taken: dict[int, int] = {}
    for _, partition, offset in every[:limit]:
        taken[partition] = max(taken.get(partition, 0), offset + 1)
    return taken


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _offsets(places: Iterable[Place], partition: int) -> list[int]:
    return [place.offset for place in places if place.partition in (None, partition)]
