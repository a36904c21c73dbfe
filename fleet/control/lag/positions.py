"""
The positions of a step group in its inputs, from its own state.

The position records of the state topic are the truth about what is done. The group's offsets
follow them while a worker runs, and stop when it is killed. A state topic may be long, so
`Positions` reads it from its end backwards, and no further than to the time from which a position
could matter.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aiokafka import TopicPartition

from fleet.kafka.topic_reader import TopicReader
from fleet.records import state
from fleet.records.position import Position

#: How many offsets of one state partition a look reads at most. A group whose state grows faster
#: than that between two positions has a worker, and a worker commits offsets.
MOST_OFFSETS = 20_000
#: How many it reads first, and the factor for the next step.
_FIRST_OFFSETS = 500
_FACTOR = 4
#: How much the clocks of the partitions' leaders may differ, in milliseconds.
_CLOCKS_MS = 10_000


def since(position: Position, begin: int) -> Position:
    """Return *position* in a log that begins at *begin*: removed records are no work any more.

    It has offsets only, as the group's own offsets do: the two are compared.
    """
    kept = tuple(offset for offset in position.pending if offset >= begin)
    return Position(max(position.next, begin), kept)


@dataclass(frozen=True, slots=True)
class _Known:
    """The position, if any, that was found in the state from *floor* up to *end*."""

    floor: int
    end: int
    position: Position | None


class Positions:
    """The position records of one step group, with those that earlier looks found."""

    def __init__(self, state_topic: str, reader: TopicReader) -> None:
        self._topic = state_topic
        self._reader = reader
        self._known: dict[TopicPartition, _Known] = {}

    def known(self, tp: TopicPartition) -> Position | None:
        """Return the last position that was found for an input partition."""
        known = self._known.get(tp)
        return known.position if known else None

    async def find(self, since_ms: Mapping[TopicPartition, int]) -> dict[TopicPartition, Position]:
        """Return the newest position by input partition, if it was written since its time."""
        searches = await self._searches(since_ms)
        while running := [search for search in searches if search.is_running]:
            for search in running:
                search.step()
            by_tp = {search.tp: search for search in running}
            spans = {tp: (search.low, search.high) for tp, search in by_tp.items()}
            async for batch in self._reader.read(spans):
                for tp, records in batch.records.items():
                    for record in records:
                        by_tp[tp].take(record.key, record.value)
            for search in running:
                search.end_step()
        for search in searches:
            self._note(search)
        return {tp: found for tp in since_ms if (found := self.known(tp)) is not None}

    async def _searches(self, since_ms: Mapping[TopicPartition, int]) -> list["_Search"]:
        times: dict[TopicPartition, int] = {}
        for tp, moment in since_ms.items():
            mine = TopicPartition(self._topic, tp.partition)
            times[mine] = min(times.get(mine, moment), moment - _CLOCKS_MS)
        if not times:
            return []
        ends = await self._reader.ends(times)
        floors = await self._reader.from_times(times)
        return [
            _Search(
                tp,
                ends[tp],
                {
                    wanted: self._floor(wanted, floors.get(tp, ends[tp]))
                    for wanted in since_ms
                    if wanted.partition == tp.partition
                },
            )
            for tp in times
        ]

    def _floor(self, tp: TopicPartition, floor: int) -> int:
        """Return the offset from which there may be news about an input partition."""
        known = self._known.get(tp)
        return known.end if known and known.floor <= floor <= known.end else floor

    def _note(self, search: "_Search") -> None:
        for tp, floor in search.floors.items():
            found, known = search.found.get(tp.topic), self._known.get(tp)
            goes_on = known is not None and known.end == floor
            if found is not None:
                self._known[tp] = _Known(floor, search.end, found)
            elif not search.is_complete(tp):
                # The search gave up before its floor, and the known position may be old.
                self._known.pop(tp, None)
            elif goes_on and known is not None:
                self._known[tp] = _Known(known.floor, search.end, known.position)
            else:
                self._known[tp] = _Known(floor, search.end, None)


class _Search:
    """One state partition, read backwards until there is a position for every wanted topic."""

    def __init__(self, tp: TopicPartition, end: int, floors: dict[TopicPartition, int]) -> None:
        self.tp = tp
        self.end = end
        #: By input partition: the first offset at which a position matters.
        self.floors = floors
        self.found: dict[str, Position] = {}
        self.low = self.high = end
        self._size = _FIRST_OFFSETS
        self._here: dict[str, Position] = {}
        self._keys = {state.position_key(tp.topic): tp.topic for tp in floors}

    @property
    def is_running(self) -> bool:
        """Whether to read on."""
        return self._missing_from() < self.low and self.end - self.low < MOST_OFFSETS

    def is_complete(self, tp: TopicPartition) -> bool:
        """Whether the search has read everything that may be about an input partition."""
        return self.low <= self.floors[tp]

    def step(self) -> None:
        """Choose the next span to read."""
        self.high = self.low
        self.low = max(self._missing_from(), self.high - self._size, self.end - MOST_OFFSETS)
        self._size *= _FACTOR

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """Take a record; the last one of a key counts."""
        topic = self._keys.get(key or b"")
        if topic is not None and value is not None:
            self._here[topic] = Position.decode(value)

    def end_step(self) -> None:
        """Keep the positions of this step that a later span of the log does not have."""
        self.found = self._here | self.found
        self._here = {}

    def _missing_from(self) -> int:
        return min(
            (floor for tp, floor in self.floors.items() if tp.topic not in self.found),
            default=self.end,
        )
