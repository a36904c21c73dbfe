"""
Tells when a partition of `stream` was read to the end that it had when a run ended.

The broker is asked for that end: at once if a reader waits for it, else for many runs together.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from fleet.config import logs
from fleet.kafka.topic_reader import TopicReader

_log = logs.get_logger("caller")
#: Between two questions for ends without a waiting reader, in seconds.
_ASK_SECONDS = 0.1
#: Between two questions after an error, in seconds.
_RETRY_SECONDS = 0.2


@dataclass(eq=False, slots=True)
class _StreamEnd:
    """What to call when a partition is read to its present end."""

    partition: int
    done: list[Callable[[], None]] = field(default_factory=list)
    #: A reader waits for it.
    soon: bool = False
    #: Known when it was asked for.
    offset: int = 0

    def reached(self) -> None:
        for call in self.done:
            call()


class StreamEnds:
    """The ends of one topic that its reader has to reach."""

    def __init__(
        self,
        topic: str,
        reader: Callable[[], TopicReader],
        taken: Callable[[TopicPartition], int | None],
    ) -> None:
        self._topic = topic
        #: Returns the present reader of the topic.
        self._reader = reader
        #: Returns the next offset to take of a partition; None if it is not followed.
        self._taken = taken
        #: By partition: ends to ask for.
        self._to_ask: dict[int, _StreamEnd] = {}
        #: Ends that are known.
        self._to_reach: list[_StreamEnd] = []
        #: When the broker was asked last, in seconds of the loop's clock.
        self._asked = 0.0
        self._asking: asyncio.Task[None] | None = None

    def when_read(self, partition: int, done: Callable[[], None], *, soon: bool) -> None:
        """Call *done* when everything that *partition* has now was taken, or is not followed."""
        if not self._is_followed(partition):
            asyncio.get_running_loop().call_soon(done)
            return
        end = self._to_ask.setdefault(partition, _StreamEnd(partition))
        end.done.append(done)
        end.soon = end.soon or soon

    def ask_soon(self) -> None:
        """Ask for the ends that are not known, if it is time."""
        if not self._to_ask or (self._asking is not None and not self._asking.done()):
            return
        now = asyncio.get_running_loop().time()
        if any(end.soon for end in self._to_ask.values()) or now - self._asked >= _ASK_SECONDS:
            self._asked = now
            # Beside the reading: an answer may take as long as an outage.
            self._asking = asyncio.create_task(self._ask(), name="fleet stream ends")

    async def look(self) -> None:
        """Call what waits for the ends that are reached."""
        for end in list(self._to_reach):
            is_over = not self._is_followed(end.partition) or await self._is_reached(end)
            if is_over and end in self._to_reach:
                self._to_reach.remove(end)
                end.reached()

    def release(self) -> None:
        """Call everything that waits: nothing is read any more."""
        waiting = [*self._to_ask.values(), *self._to_reach]
        self._to_ask, self._to_reach = {}, []
        for end in waiting:
            end.reached()

    async def stop(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask(self) -> None:
        asked, self._to_ask = self._to_ask, {}
        try:
            ends = await self._reader().ends([self._tp(partition) for partition in asked])
        except Exception as failure:  # noqa: BLE001 - asked again for as long as a run waits
            _log.warning("stream_end_not_known", error=repr(failure))
            self._ask_again(asked)
            await asyncio.sleep(_RETRY_SECONDS)
            return
        for partition, end in asked.items():
            end.offset = ends[self._tp(partition)]
        self._to_reach += asked.values()
        await self.look()

    def _ask_again(self, asked: dict[int, _StreamEnd]) -> None:
        for partition, end in asked.items():
            if not self._is_followed(partition):
                end.reached()
                continue
            later = self._to_ask.setdefault(partition, _StreamEnd(partition))
            later.done += end.done
            later.soon = later.soon or end.soon

    async def _is_reached(self, end: _StreamEnd) -> bool:
        tp = self._tp(end.partition)
        if (self._taken(tp) or 0) >= end.offset:
            return True
        # The client's position passes offsets that are no records for us; all else was taken.
        with contextlib.suppress(KafkaError):
            position: int = await self._reader().consumer.position(tp)
            return position >= end.offset
        return False

    def _is_followed(self, partition: int) -> bool:
        return self._taken(self._tp(partition)) is not None

    def _tp(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)
