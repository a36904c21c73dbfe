"""What a replay would take: counted in the topic before anything is asked or sent."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from aiokafka import TopicPartition

from fleet.config.settings import Settings
from fleet.control import times
from fleet.control.replay.plan import Plan
from fleet.control.replay.selection import Judge, Place, Refused, Spans, bounded, oldest
from fleet.control.source import Source
from fleet.kafka import topic_reader
from fleet.kafka.topic_reader import Span, TopicReader
from fleet.records.envelope import Envelope
from fleet.records.errors import ExitCode, FleetError
from fleet.records.log import Delivered
from fleet.records.partitions import partition_of

_BATCH = 2_000


class NoPartition(FleetError):
    """Raised when a partition is named that the topic does not have."""

    exit_code = ExitCode.REFUSED

    def __init__(self, topic: str, partition: int, count: int) -> None:
        super().__init__(
            f"{topic} has no partition {partition}; its partitions are 0 to {count - 1}"
        )


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which stretch of the topic is meant."""

    since: datetime | None = None
    #: Not itself in it.
    until: datetime | None = None
    first: tuple[Place, ...] = ()
    #: Themselves in it.
    last: tuple[Place, ...] = ()
    #: The oldest of what is taken.
    limit: int | None = None

    @property
    def partitions(self) -> set[int]:
        """The partitions that are named."""
        return {each.partition for each in (*self.first, *self.last) if each.partition is not None}

    def __bool__(self) -> bool:
        return any((self.since, self.until, self.first, self.last, self.limit))


@dataclass(slots=True)
class Found:
    """What was counted."""

    spans: Spans
    #: What is taken, by partition.
    counts: Counter[int] = field(default_factory=Counter)
    #: What is meant and cannot be taken, by reason.
    refused: Counter[str] = field(default_factory=Counter)
    #: How many of what is taken a replay has made.
    replayed: int = 0
    #: Records that were read.
    read: int = 0

    @property
    def total(self) -> int:
        """How many records are taken."""
        return self.counts.total()

    def take(self, record: Delivered, judge: Judge) -> None:
        """Count the next record."""
        self.read += 1
        verdict = judge.judge(record)
        if isinstance(verdict, Refused):
            self.refused[verdict.reason] += 1
        elif verdict is not None:
            self.counts[record.partition] += 1
            self.replayed += verdict.replays > 0


async def look(
    source: Source,
    plan: Plan,
    bounds: Bounds,
    judge: Judge,
    progress: Callable[[int, int], object],
) -> Found:
    """Count what a plan, whose spans are not known yet, takes of *bounds*.

    *progress* is told how many offsets of how many were passed. Raises BrokerUnreachable,
    TopicsMissing and TopicsMismatched.
    """
    count = await source.partitions()
    numbers = list(range(count))
    if strange := bounds.partitions - set(numbers):
        raise NoPartition(plan.topic, min(strange), count)
    if plan.rules.run_ids:
        numbers = sorted({partition_of(each, count) for each in plan.rules.run_ids})
    async with topic_reader.connected(source.settings) as reader:
        spans = await _spans(reader, topic_reader.partitions(plan.topic, numbers), bounds)
        if bounds.limit is not None:
            spans = await _oldest(reader, plan.topic, spans, judge, bounds.limit)
        found = Found(spans)
        await _count(reader, plan.topic, found, judge, progress)
        return found


async def _oldest(reader: TopicReader, topic: str, spans: Spans, judge: Judge, limit: int) -> Spans:
    """Cut *spans* so that they hold the oldest *limit* of what is taken."""
    places: dict[int, list[tuple[int, int]]] = {each: [] for each in spans}
    async for batch in reader.read(of(topic, spans), max_records=_BATCH):
        for record in batch.delivered():
            # What comes later in a partition that has as many is not among the oldest.
            if len(places[record.partition]) < limit and isinstance(judge.judge(record), Envelope):
                places[record.partition].append((record.appended_ms, record.offset))
    ends = oldest(places, limit)
    return {each: (start, ends[each]) for each, (start, _) in spans.items() if each in ends}


async def _spans(reader: TopicReader, tps: list[TopicPartition], bounds: Bounds) -> Spans:
    since_ms = times.milliseconds(bounds.since) if bounds.since is not None else None
    spans = await reader.spans(tps, since_ms)
    if bounds.until is not None:
        ends = await reader.from_times(dict.fromkeys(tps, times.milliseconds(bounds.until)))
        # What was appended since the ends were noted stays outside.
        spans = {tp: (start, min(end, ends.get(tp, end))) for tp, (start, end) in spans.items()}
    return bounded({tp.partition: span for tp, span in spans.items()}, bounds.first, bounds.last)


async def _count(
    reader: TopicReader,
    topic: str,
    found: Found,
    judge: Judge,
    progress: Callable[[int, int], object],
) -> None:
    total = sum(max(0, end - start) for start, end in found.spans.values())
    done = dict.fromkeys(found.spans, 0)
    async for batch in reader.read(of(topic, found.spans), max_records=_BATCH):
        for record in batch.delivered():
            found.take(record, judge)
        for tp, position in batch.positions.items():
            done[tp.partition] = position - found.spans[tp.partition][0]
        progress(sum(done.values()), total)


async def rest(settings: Settings, plan: Plan, judge: Judge, positions: Mapping[int, int]) -> Found:
    """Count what a replay has not dealt with; raises BrokerUnreachable."""
    spans = {each: (positions[each], end) for each, (_, end) in plan.spans.items()}
    found = Found(spans)
    async with topic_reader.connected(settings) as reader:
        await _count(reader, plan.topic, found, judge, lambda _done, _total: None)
    return found


def of(topic: str, spans: Spans) -> dict[TopicPartition, Span]:
    """Return spans of a topic's partitions, as its reader wants them."""
    return {TopicPartition(topic, partition): span for partition, span in spans.items()}


def is_own(source: Source, topic: str) -> bool:
    """Tell whether *topic* is one of the workflow's own."""
    return topic.startswith(f"{source.settings.prefix}.{source.topics.workflow}.")
