"""
Which steps of a run are open: they have an event, and are not done with it.

Workers tell callers nothing. But what is not done stands in the log: the positions of the group in
its inputs, and the events from there on.
"""

from collections.abc import Iterator, Mapping

from aiokafka import TopicPartition

from fleet.engine.transitions.suspended import Suspended
from fleet.kafka.records import delivered
from fleet.kafka.topic_reader import TopicReader
from fleet.records import envelope as envelopes
from fleet.records import state
from fleet.records.envelope import BrokenEnvelope
from fleet.records.log import Delivered
from fleet.records.position import Position
from fleet.records.topics import Topics
from fleet.workflow.graph import Graph


class OpenSteps:
    """Finds the open steps of one run."""

    def __init__(self, topics: Topics, graph: Graph, run_id: str, partition: int) -> None:
        self._topics = topics
        self._graph = graph
        self._run_id = run_id
        self._partition = partition
        #: Of the group in its inputs, by topic.
        self._positions: dict[str, Position] = {}
        #: Steps that are done with an event before its other steps.
        self._done: set[bytes] = set()
        #: The steps of suspended work, by key; empty: all that take its event.
        self._suspended: dict[bytes, Suspended] = {}

    async def find(self, reader: TopicReader) -> list[str]:
        """Return their names, sorted."""
        changelog = TopicPartition(self._topics.state, self._partition)
        end = (await reader.ends([changelog]))[changelog]
        async for batch in reader.read({changelog: (0, end)}):
            for record in batch.records.get(changelog, ()):
                self._take(record.key, record.value)
        found = {name for entry in self._suspended.values() for name in self._of(entry)}
        async for batch in reader.read(await self._spans(reader)):
            for records in batch.records.values():
                for record in records:
                    found.update(self._steps(delivered(record)))
        return sorted(found)

    def _take(self, key: bytes, value: bytes | None) -> None:
        if key.startswith(state.POSITION) and value is not None:
            self._positions[key[len(state.POSITION) :].decode()] = Position.decode(value)
        elif key.startswith(state.DONE):
            (self._done.discard if value is None else self._done.add)(key)
        elif key.startswith(state.suspended_prefix(self._run_id)):
            self._suspended.pop(key, None)
            if value is not None:
                self._suspended[key] = Suspended.decode(value)

    async def _spans(self, reader: TopicReader) -> Mapping[TopicPartition, tuple[int, int]]:
        inputs = self._topics.consumed(self._graph.accepting)
        tps = [TopicPartition(name, self._partition) for name in inputs]
        ends = await reader.ends(tp for tp in tps if tp.topic != self._topics.runs)
        return {tp: (self._lowest(tp.topic), end) for tp, end in ends.items()}

    def _lowest(self, topic: str) -> int:
        position = self._positions.get(topic)
        return min((*position.pending, position.next)) if position else 0

    def _steps(self, record: Delivered) -> Iterator[str]:
        """Yield the steps that are not done with an event of the run."""
        position = self._positions.get(record.topic)
        if record.key != self._run_id.encode():
            return
        if position and record.offset < position.next and record.offset not in position.pending:
            return
        for name in self._taking(record):
            prefix = state.done_prefix(record.topic, record.offset)
            if prefix + name.encode() not in self._done:
                yield name

    def _of(self, entry: Suspended) -> list[str]:
        return [entry.step] if entry.step else self._taking(entry.record(self._partition))

    def _taking(self, record: Delivered) -> list[str]:
        try:
            envelope = envelopes.parse(record.headers)
        except BrokenEnvelope:
            return []
        taking = self._graph.accepting.get(envelope.type, ())
        return [step.name for step in taking if envelope.step in ("", step.name)]
