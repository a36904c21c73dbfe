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
from fleet.records.position import Position
from fleet.records.state import View
from fleet.records.topics import Topics

_log = logs.get_logger("versions")


class OtherVersions:
    """Tells the log which events of one task wait for another version of its workflow."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        #: Types and steps that were logged.
        self._said: set[tuple[str, str]] = set()

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
