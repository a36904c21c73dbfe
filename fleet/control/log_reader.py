"""
What a workflow's topics hold now: read from a beginning to the ends noted first, in no group.

read_committed, so that nobody sees what was aborted. An end is the last stable offset: what a
transaction holds back is not waited for.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiokafka import TopicPartition

from fleet.config.settings import Settings
from fleet.control.reader import Reader
from fleet.kafka import provision
from fleet.kafka.provision import TopicsMissing
from fleet.kafka.records import delivered
from fleet.records.log import Delivered
from fleet.records.topics import Topics
from fleet.workflow import definition

if TYPE_CHECKING:
    from fleet.api.workflow import Workflow

_POLL_MS = 100
#: A busy reader of everything: fewer and larger answers than a worker wants, in bytes.
_FETCH_BYTES = 4 * 1024 * 1024

Take = Callable[[Delivered], object]
Offsets = Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class Source:
    """Whose topics are meant."""

    workflow: "type[Workflow]"
    settings: Settings
    #: Name of the step group; None is the workflow's own one.
    group: str | None = None

    @property
    def topics(self) -> Topics:
        """The topics of the step group."""
        group = self.group or self.workflow.group_name
        return Topics(self.settings.prefix, self.workflow.workflow_name, group)

    @property
    def keep_days(self) -> float:
        """For how long the state of a run that ended without a result is kept."""
        return max(self.settings.resume_days, self.settings.dedupe_days)

    async def partitions(self) -> int:
        """Return how many partitions the topics have.

        Raises BrokerUnreachable, TopicsMismatched, and TopicsMissing where they are not there.
        """
        made = await provision.plan(self.topics, definition.graph(self.workflow), self.settings)
        if made.missing:
            raise TopicsMissing((topic.name for topic in made.missing), self.topics.workflow)
        return made.partitions


class LogReader(Reader):
    """Reads partitions of topics that are there; entering it raises BrokerUnreachable."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            settings, max_partition_fetch_bytes=_FETCH_BYTES, fetch_max_wait_ms=_POLL_MS
        )

    async def ends(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offset after the last record that can be read, of each partition."""
        tps = list(tps)
        found: dict[TopicPartition, int] = await self._consumer.end_offsets(tps) if tps else {}
        return found

    async def begins(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offset of the first record that is left, of each partition."""
        tps = list(tps)
        found: dict[TopicPartition, int] = await self._consumer.beginning_offsets(tps)
        return found

    async def read(
        self, tps: Iterable[TopicPartition], take: Take, *, since_ms: int | None = None
    ) -> dict[TopicPartition, int]:
        """Hand what is there now to *take*, from the beginning or from *since_ms* on.

        Each partition is in its order. Returns where each ended: from there `follow` goes on.
        """
        ends = await self.ends(tps)
        starts = await self._starts(list(ends), since_ms)
        await self.follow({tp: starts[tp] for tp in ends}, take, ends)
        return ends

    async def follow(self, starts: Offsets, take: Take, ends: Offsets) -> None:
        """Hand what lies between *starts* and *ends* to *take*."""
        left = {tp for tp, end in ends.items() if starts[tp] < end}
        if not left:
            return
        self._consumer.assign(sorted(left))
        for tp in left:
            self._consumer.seek(tp, starts[tp])
        while left:
            found = await self._consumer.getmany(timeout_ms=_POLL_MS)
            for tp, records in found.items():
                for record in records:
                    if record.offset < ends[tp]:
                        take(delivered(record))
            # The position passes transaction markers, which are never handed out as records.
            left = {tp for tp in left if await self._consumer.position(tp) < ends[tp]}

    async def _starts(
        self, tps: list[TopicPartition], since_ms: int | None
    ) -> dict[TopicPartition, int]:
        if not tps:
            return {}
        starts = await self.begins(tps)
        if since_ms is None:
            return starts
        found = await self._consumer.offsets_for_times(dict.fromkeys(tps, since_ms))
        ends = await self.ends(tps)
        return {tp: place.offset if place else ends[tp] for tp, place in found.items()}


def partitions(topic: str, numbers: int | Iterable[int]) -> list[TopicPartition]:
    """Return partitions of *topic*: so many, or those with these numbers."""
    every = range(numbers) if isinstance(numbers, int) else numbers
    return [TopicPartition(topic, number) for number in every]
