"""
Lag of step groups, read from the broker: for all partitions, with workers or without.

The lag of a partition is the work that is not done in it: how many records, and the age of the
oldest one. If the group's committed offset is below the log's stable end, a look searches for
records in between: there may be only markers of transactions and aborted records, which are no
work. If it finds some, it asks the group's state whether they are done, because offsets follow the
truth late, and stop early if a worker is killed. See docs/lag.md.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from fleet.config.settings import Settings
from fleet.control import step_groups
from fleet.control.lag.positions import Positions, since
from fleet.control.step_groups import Groups, Membership
from fleet.kafka.clients import BrokerUnreachable, Clients, client_arguments
from fleet.kafka.topic_reader import Span, TopicReader
from fleet.records.position import Position
from fleet.records.topics import Topics

#: A look reads up to this many offsets to tell records from markers. Of more than that, every
#: offset counts as a record.
EXACT_OFFSETS = 200
#: How long one look may take, in seconds. A broker that is gone does not answer.
LOOK_SECONDS = 8.0
#: As `fleet.kafka.loading`: other requests of a client wait behind its fetch.
_FETCH_WAIT_MS = 20
_RETRY_MS = 10
#: A look mostly wants one record of a partition, and a partition may hold large ones.
_FETCH_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """The work that is not done in one input partition of a group."""

    topic: str
    partition: int
    #: The committable offset: the lowest one that is not done.
    committable: int
    #: The log's last stable offset.
    end: int
    records: int = 0
    #: False if *records* may be too many, by offsets without a record.
    exact: bool = True
    #: Age of the oldest record that is not done; 0 without one.
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class GroupLag:
    """A step group at one moment."""

    workflow: str
    group: str
    #: The consumer group's state in the broker's words; Absent if the broker knows no group.
    state: str
    members: int
    partitions: tuple[PartitionLag, ...]

    @property
    def records(self) -> int:
        """How many records are not done in all partitions."""
        return sum(lag.records for lag in self.partitions)

    @property
    def exact(self) -> bool:
        """Whether *records* is exact."""
        return all(lag.exact for lag in self.partitions)

    @property
    def seconds(self) -> float:
        """Age of the oldest record that is not done."""
        return max((lag.seconds for lag in self.partitions), default=0.0)


@dataclass(frozen=True, slots=True)
class _Head:
    """The search for the oldest record that is not done: from *start* up to *end*."""

    start: int
    end: int
    offset: int | None = None
    #: Append time, in unix milliseconds.
    appended_ms: int = 0

    def still(self, position: Position, end: int) -> Self | None:
        """Return it if it also holds for a later *position* and *end*; None if it may not."""
        if self.start > position.lowest:
            return None
        # A record that was open then, at the position or behind it, is open still.
        known = self.end >= end if self.offset is None else position.lowest <= self.offset
        return self if known else None


@dataclass(slots=True)
class _Inputs:
    """The input partitions of one group in one look."""

    begins: Mapping[TopicPartition, int]
    ends: Mapping[TopicPartition, int]
    positions: dict[TopicPartition, Position]
    heads: dict[TopicPartition, _Head] = field(default_factory=dict)
    #: Records behind the position, of the partitions in which they were counted.
    counts: dict[TopicPartition, int] = field(default_factory=dict)

    def lag(self, tp: TopicPartition, now_ms: float) -> PartitionLag:
        """Return the lag of one partition."""
        position, end, head = self.positions[tp], self.ends[tp], self.heads.get(tp)
        if head is None or head.offset is None:
            return PartitionLag(*tp, position.lowest, end)
        behind = max(0, end - position.next)
        counted = self.counts.get(tp)
        return PartitionLag(
            *tp,
            committable=position.lowest,
            end=end,
            records=len(position.pending) + (behind if counted is None else counted),
            exact=counted is not None or not behind,
            seconds=max(0.0, now_ms - head.appended_ms) / 1000,
        )


class _GroupReader:
    """One step group, with the results of earlier looks."""

    def __init__(self, names: Topics, reader: TopicReader) -> None:
        self.names = names
        self._reader = reader
        self._positions = Positions(names.state, reader)
        self._heads: dict[TopicPartition, _Head] = {}
        #: By partition: the span in which records were counted, and their number.
        self._counts: dict[TopicPartition, tuple[Span, int]] = {}

    async def look(self, tps: list[TopicPartition], found: Membership) -> _Inputs:
        """Find the work that is not done in *tps*."""
        begins = await self._reader.begins(tps)
        ends = await self._reader.ends(tps)
        inputs = _Inputs(begins, ends, {tp: self._from_offset(tp, found, begins[tp]) for tp in tps})
        await self._find_heads(inputs, tps)
        behind = {
            tp: head.appended_ms for tp, head in inputs.heads.items() if head.offset is not None
        }
        corrected = await self._ask_state(inputs, behind)
        await self._find_heads(inputs, corrected)
        await self._count(inputs)
        return inputs

    def _from_offset(self, tp: TopicPartition, found: Membership, begin: int) -> Position:
        # A group without a committed offset reads from the beginning.
        committed = Position(found.offsets.get(tp, begin))
        known = self._positions.known(tp)
        further = known is not None and known.lowest >= committed.next
        return since(known if further and known else committed, begin)

    async def _find_heads(self, inputs: _Inputs, tps: Iterable[TopicPartition]) -> None:
        spans: dict[TopicPartition, Span] = {}
        for tp in tps:
            position, end = inputs.positions[tp], inputs.ends[tp]
            inputs.heads.pop(tp, None)
            if position.lowest >= end:
                continue
            last = self._heads.get(tp)
            head = last.still(position, end) if last else None
            if head is not None:
                inputs.heads[tp] = head
            else:
                spans[tp] = position.lowest, end
        heads = await self._read_heads(spans, inputs.positions)
        inputs.heads |= heads
        self._heads |= heads

    async def _read_heads(
        self, spans: Mapping[TopicPartition, Span], positions: Mapping[TopicPartition, Position]
    ) -> dict[TopicPartition, _Head]:
        heads = {tp: _Head(*span) for tp, span in spans.items()}
        pending = {tp: frozenset(positions[tp].pending) for tp in spans}
        reading = self._reader.read(spans)
        async for batch in reading:
            for tp, records in batch.records.items():
                for record in records:
                    if record.offset >= positions[tp].next or record.offset in pending[tp]:
                        heads[tp] = _Head(*spans[tp], record.offset, record.timestamp)
                        reading.drop(tp)
                        break
        return heads

    async def _ask_state(
        self, inputs: _Inputs, behind: Mapping[TopicPartition, int]
    ) -> list[TopicPartition]:
        """Correct positions by the state; return the partitions that it corrected."""
        corrected = []
        for tp, found in (await self._positions.find(behind)).items():
            position = since(found, inputs.begins[tp])
            if position != inputs.positions[tp]:
                inputs.positions[tp] = position
                corrected.append(tp)
        return corrected

    async def _count(self, inputs: _Inputs) -> None:
        spans: dict[TopicPartition, Span] = {}
        for tp, head in inputs.heads.items():
            span = inputs.positions[tp].next, inputs.ends[tp]
            if head.offset is None or span[1] - span[0] > EXACT_OFFSETS:
                continue
            counted, count = self._counts.get(tp, (None, 0))
            if counted == span:
                inputs.counts[tp] = count
            else:
                spans[tp] = span
        counts = dict.fromkeys(spans, 0)
        async for batch in self._reader.read(spans):
            for tp, records in batch.records.items():
                counts[tp] += len(records)
        inputs.counts |= counts
        self._counts |= {tp: (span, counts[tp]) for tp, span in spans.items()}


class LagReader:
    """Connections to the broker for repeated looks at lag.

    A look does not read again what an earlier one has read. After a failed look, create another
    reader.
    """

    def __init__(self, settings: Settings, wall: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._wall = wall
        arguments = client_arguments(settings)
        # The admin client does not take None for every argument.
        given = {name: value for name, value in arguments.items() if value is not None}
        self._groups = Groups(given)
        self._reader = TopicReader(
            Clients(settings),
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            retry_backoff_ms=_RETRY_MS,
            max_partition_fetch_bytes=_FETCH_BYTES,
        )
        self._readers: dict[str, _GroupReader] = {}

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._groups.start()
                await self._reader.start()
        except (KafkaError, OSError, TimeoutError) as failure:
            await self.close()
            raise self._unreachable(failure) from None
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Disconnect."""
        await self._groups.close()
        await self._reader.stop()

    async def look(self, workflow: str | None = None) -> list[GroupLag]:
        """Return every step group of the prefix, or of one workflow in it.

        Raises BrokerUnreachable, also if the broker gives only a part of the answers.
        """
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return await self._look(workflow)
        except (KafkaError, OSError, TimeoutError) as failure:
            raise self._unreachable(failure) from None

    async def _look(self, workflow: str | None) -> list[GroupLag]:
        topics = await self._groups.topics()
        found = step_groups.names(topics, self._settings.prefix)
        by_workflow: dict[str, list[Topics]] = {}
        for names in found:
            if workflow in (None, names.workflow):
                by_workflow.setdefault(names.workflow, []).append(names)
        return [
            lag for groups in by_workflow.values() for lag in await self._workflow(groups, topics)
        ]

    async def _workflow(self, groups: list[Topics], topics: Mapping[str, int]) -> list[GroupLag]:
        memberships = [(names, await self._groups.membership(names.engine_id)) for names in groups]
        inputs = step_groups.inputs(memberships, topics.keys())
        return [
            await self._group(
                names,
                membership,
                [
                    TopicPartition(topic, partition)
                    for topic in inputs[names.engine_id]
                    # A group has no more tasks than its state has partitions.
                    for partition in range(min(topics[topic], topics[names.state]))
                ],
            )
            for names, membership in memberships
        ]

    async def _group(self, names: Topics, found: Membership, tps: list[TopicPartition]) -> GroupLag:
        reader = self._readers.get(names.engine_id)
        if reader is None:
            reader = self._readers[names.engine_id] = _GroupReader(names, self._reader)
        inputs = await reader.look(tps, found)
        now_ms = self._now_ms(inputs)
        return GroupLag(
            names.workflow,
            names.group,
            found.state,
            found.members,
            tuple(inputs.lag(tp, now_ms) for tp in tps),
        )

    def _now_ms(self, inputs: _Inputs) -> float:
        # No broker tells its time. If our clock is behind, there are records of the future.
        newest = max((head.appended_ms for head in inputs.heads.values()), default=0)
        return max(self._wall() * 1000, float(newest))

    def _unreachable(self, failure: BaseException) -> BrokerUnreachable:
        told = TimeoutError(f"no answer within {LOOK_SECONDS:.0f} seconds")
        return BrokerUnreachable(
            self._settings, told if isinstance(failure, TimeoutError) else failure
        )


async def look(settings: Settings, workflow: str | None = None) -> list[GroupLag]:
    """Look once. Raises BrokerUnreachable."""
    async with LagReader(settings) as reader:
        return await reader.look(workflow)
