"""What a replay would take: counted in the topic before anything is asked or sent."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from aiokafka.errors import KafkaError

from fleet.config.settings import Settings
from fleet.control import times
from fleet.control.log_reader import Source
from fleet.control.replay.plan import Plan
from fleet.control.replay.reader import TopicReader
from fleet.control.replay.selection import Judge, Place, Refused, Spans, bounded, oldest
from fleet.kafka.clients import BrokerUnreachable
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
    try:
        async with TopicReader(source.settings, plan.topic) as reader:
            spans = await _spans(reader, numbers, bounds)
            if bounds.limit is not None:
                spans = await _oldest(reader, spans, judge, bounds.limit)
            found = Found(spans)
            await _count(reader, found, judge, progress)
            return found
    except (KafkaError, OSError) as failure:
        raise BrokerUnreachable(source.settings, failure) from None


async def _oldest(reader: TopicReader, spans: Spans, judge: Judge, limit: int) -> Spans:
    """Cut *spans* so that they hold the oldest *limit* of what is taken."""
    places: dict[int, list[tuple[int, int]]] = {each: [] for each in spans}
    async for batch in reader.batches(spans, _BATCH):
        for record in batch.records:
            # What comes later in a partition that has as many is not among the oldest.
            if len(places[record.partition]) < limit and isinstance(judge.judge(record), Envelope):
                places[record.partition].append((record.appended_ms, record.offset))
    ends = oldest(places, limit)
    return {each: (start, ends[each]) for each, (start, _) in spans.items() if each in ends}


async def _spans(reader: TopicReader, numbers: list[int], bounds: Bounds) -> Spans:
    spans = await reader.spans(numbers)
    if bounds.since is not None:
        starts = await reader.from_time(numbers, times.milliseconds(bounds.since))
        spans = {each: (starts.get(each, end), end) for each, (_, end) in spans.items()}
    if bounds.until is not None:
        ends = await reader.from_time(numbers, times.milliseconds(bounds.until))
        # What was appended since the ends were noted stays outside.
        spans = {
            each: (start, min(end, ends.get(each, end))) for each, (start, end) in spans.items()
        }
    return bounded(spans, bounds.first, bounds.last)


async def _count(
    reader: TopicReader, found: Found, judge: Judge, progress: Callable[[int, int], object]
) -> None:
    total = sum(max(0, end - start) for start, end in found.spans.values())
    positions = {each: start for each, (start, _) in found.spans.items()}
    async for batch in reader.batches(found.spans, _BATCH):
        for record in batch.records:
            found.take(record, judge)
        positions.update(batch.positions)
        done = sum(positions[each] - found.spans[each][0] for each in positions)
        progress(done, total)


async def rest(settings: Settings, plan: Plan, judge: Judge, positions: Mapping[int, int]) -> Found:
    """Count what a replay has not dealt with; raises BrokerUnreachable."""
    spans = {each: (positions[each], end) for each, (_, end) in plan.spans.items()}
    found = Found(spans)
    try:
        async with TopicReader(settings, plan.topic) as reader:
            await _count(reader, found, judge, lambda _done, _total: None)
    except (KafkaError, OSError) as failure:
        raise BrokerUnreachable(settings, failure) from None
    return found


def is_own(source: Source, topic: str) -> bool:
    """Tell whether *topic* is one of the workflow's own."""
    return topic.startswith(f"{source.settings.prefix}.{source.topics.workflow}.")
