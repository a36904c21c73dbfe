"""
What steps wait for: read from the state of a workflow, which the workers keep in its changelog.

The changelog is compacted, so it holds the waits of all open runs, and reading it takes as long as
the state is large. Only the waits are kept in memory.
"""

from dataclasses import dataclass

from pydantic import ValidationError

from fleet.control.source import Source
from fleet.engine.transitions.suspended import Suspended
from fleet.kafka import topic_reader
from fleet.records import state
from fleet.records.log import Delivered
from fleet.records.partitions import partition_of
from fleet.records.waits import Wait


@dataclass(frozen=True, slots=True)
class Waiting:
    """A step that waits for an event."""

    run_id: str
    step: str
    #: Of the event that the step works on.
    event_id: str
    wait: Wait
    #: Since when and until when, in unix seconds, by the broker's clock; None: without an end.
    since: float
    until: float | None


class WaitLog:
    """The waits in some partitions of the state."""

    def __init__(self, run_id: str = "") -> None:
        """Take those of one run, or of all."""
        prefix = state.waiting_prefix(run_id) if run_id else state.WAITING
        self._prefix = prefix
        self._found: dict[bytes, Waiting] = {}

    def take(self, record: Delivered) -> None:
        """Take the next record of a partition of the changelog."""
        key = record.key or b""
        if not key.startswith(self._prefix):
            return
        self._found.pop(key, None)
        waiting = _waiting(key, record.value) if record.value is not None else None
        if waiting is not None:
            self._found[key] = waiting

    def oldest_first(self) -> list[Waiting]:
        """Return what waits now."""
        return sorted(self._found.values(), key=lambda one: (one.since, one.run_id, one.step))


async def waiting(source: Source, run_id: str = "") -> list[Waiting]:
    """Return the steps that wait for events, the longest first: of one run, or of all.

    Raises BrokerUnreachable, TopicsMissing and TopicsMismatched.
    """
    count, log = await source.partitions(), WaitLog(run_id)
    numbers = [partition_of(run_id, count)] if run_id else list(range(count))
    async with topic_reader.connected(source.settings) as reader:
        await reader.take_all(topic_reader.partitions(source.topics.state, numbers), log.take)
    return log.oldest_first()


def _waiting(key: bytes, value: bytes) -> Waiting | None:
    try:
        entry = Suspended.decode(value)
    except ValidationError:
        # Of another version.
        return None
    if entry.wait is None:
        return None
    run_id, event_id, step = key[len(state.WAITING) :].decode().split("\0", 2)
    until = entry.due_ms / 1000 if entry.due_ms else None
    return Waiting(run_id, step, event_id, entry.wait, entry.since_ms / 1000, until)
