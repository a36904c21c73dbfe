"""
What only another version of the workflow knows: events of types, or for steps, that are not here.

While a deployment adds or removes an event type, a partition moves between workers of both
versions. Topics of types that a worker does not know it does not read: their events wait there, and
their positions in the state. What reaches it in another way (from outside, in the inbox; suspended
work; an event that is meant for one step) waits in the state until a worker that knows it loads the
partition, or until its run ends.
"""

from collections.abc import Iterable

from fleet.config import logs
from fleet.engine.ports import Loader
from fleet.records import state
from fleet.records.envelope import Envelope
from fleet.records.log import Delivered
from fleet.records.position import Position
from fleet.records.state import View
from fleet.records.topics import Topics
from fleet.workflow.graph import Graph
from fleet.workflow.steps import Step

_log = logs.get_logger("versions")


class OtherVersions:
    """What of one task's events is for another version of its workflow."""

    def __init__(self, graph: Graph, topics: Topics) -> None:
        self._graph = graph
        self._topics = topics
        #: Types and steps that were spoken of.
        self._said: set[tuple[str, str]] = set()

    def steps(self, envelope: Envelope) -> list[Step]:
        """Return the steps of this version that take an event."""
        accepting = self._graph.accepting.get(envelope.type, ())
        return [step for step in accepting if envelope.step in ("", step.name)]

    def take(self, record: Delivered, envelope: Envelope) -> bool:
        """Tell whether an event is for another version, for all that this one knows.

        Not one that lies in the topic of another type: nobody has sent it there as we do.
        """
        if self.steps(envelope):
            return False
        return record.topic in (self._topics.inbox, self._topics.event(envelope.type))

    def say(self, envelope: Envelope) -> None:
        """Log that an event waits for another version; once for each type and step."""
        waiting = envelope.type, envelope.step
        if waiting not in self._said:
            self._said.add(waiting)
            _log.warning(
                "event_waits_for_another_version",
                engine=self._topics.engine_id,
                type=envelope.type,
                step=envelope.step,
            )


async def unread_topics(loader: Loader, view: View, topics: Iterable[str]) -> frozenset[str]:
    """Return the topics, beside *topics*, in which events wait for another version.

    They may be of runs that have ended, which are to be known when the events are read.
    """
    prefix, known = state.POSITION, set(topics)
    positions = {
        topic: Position.decode(value).lowest
        for key, value in view.items(prefix)
        if (topic := key[len(prefix) :].decode()) not in known
    }
    there = await loader.log_ids(positions) if positions else {}
    offsets = {topic: offset for topic, offset in positions.items() if topic in there}
    unread = frozenset(await loader.first(offsets)) if offsets else frozenset[str]()
    for topic in sorted(unread):
        _log.warning("events_wait_for_another_version", topic=topic, position=positions[topic])
    return unread
