"""
Notices a consumer that gets nothing any more though there is something.

aiokafka's fetch loop can end, or wait for ever, without a word: calls of its consumer then return
nothing. So the log's end is asked for now and then, by a request that does not need that loop.
"""

from collections.abc import Mapping

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

#: How often the log's end is asked for, in seconds. A consumer that was behind at one look and has
#: not moved at the next is stalled.
WATCH_SECONDS = 5.0


class ConsumerStalled(KafkaError):
    """Raised when a consumer was behind the log's end for a while and did not move."""


class StallWatch:
    """Remembers where a consumer was behind."""

    def __init__(self) -> None:
        self._behind: dict[TopicPartition, int] = {}

    def is_stalled(
        self, positions: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> bool:
        """Tell whether a partition is where it was behind the end at the last look."""
        behind = {tp: at for tp, at in positions.items() if at < ends.get(tp, 0)}
        stalled = any(self._behind.get(tp) == at for tp, at in behind.items())
        self._behind = {} if stalled else behind
        return stalled
