"""
The in-process log: the same engine without Kafka, for tests and notebooks.

One partition. A commit appends all its records. Readers get them in a later turn of the loop, as
from a broker. Nothing outlives the process. Time is that of the event loop, so a test can move it.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice

from fleet.engine import ends_index
from fleet.engine.log import Receipt
from fleet.engine.stream_record import stream_record
from fleet.engine.transitions.draft import Work
from fleet.memory.kept import KeptRecords
from fleet.records.events import Event
from fleet.records.log import Delivered, Outgoing
from fleet.records.state import MemoryState
from fleet.records.topics import Topics

Reader = Callable[[Delivered], None]

#: How many ended runs of each kind (with a result, without) it remembers, however young they are: a
#: process that runs for weeks has no bound but its memory.
MOST_ENDED = 10_000
#: How much of all runs' streams can be read again, in bytes.
KEPT_STREAM_BYTES = 64 * 1024 * 1024


def loop_seconds() -> float:
    """Return the time of the running event loop: a clock that cannot be set, in seconds."""
    return asyncio.get_running_loop().time()


class MemoryBroker:
    """Topics of one partition each, and their readers."""

    def __init__(self) -> None:
        self._next: dict[str, int] = defaultdict(int)
        self._readers: dict[str, list[Reader]] = defaultdict(list)
        #: By topic and key, for callers that ask again for an ended run.
        self._kept: dict[str, KeptRecords] = {}
        self._began_ms = (time.time() - loop_seconds()) * 1000

    def now_ms(self) -> int:
        """Return its time, in unix milliseconds; setting the machine's clock does not change it."""
        return round(self._began_ms + loop_seconds() * 1000)

    def subscribe(self, topic: str, reader: Reader) -> None:
        """Hand every later record of *topic* to *reader*."""
        self._readers[topic].append(reader)

    def keep(self, topic: str, most_bytes: int | None = None) -> None:
        """Keep later records of *topic*; beyond *most_bytes* the oldest go."""
        self._kept.setdefault(topic, KeptRecords(most_bytes))

    def append(self, record: Outgoing) -> None:
        """Append one record and hand it on, in a later turn of the loop."""
        topic = record.topic
        delivered = Delivered(
            topic=topic,
            partition=0,
            offset=self._next[topic],
            appended_ms=self.now_ms(),
            key=record.key,
            value=record.value,
            headers=record.headers,
        )
        self._next[topic] += 1
        if topic in self._kept:
            self._kept[topic].add(delivered)
        self._hand_on(delivered)

    def kept(self, topic: str) -> KeptRecords:
        """Return the records of *topic* that are kept."""
        return self._kept[topic]

    def end(self, topic: str) -> int:
        """Return the offset of the next record of *topic*."""
        return self._next[topic]

    def forget(self, run_id: str) -> None:
        """Keep nothing of a run any more."""
        for kept in self._kept.values():
            kept.forget(run_id.encode())

    def _hand_on(self, record: Delivered) -> None:
        for reader in self._readers[record.topic]:
            asyncio.get_running_loop().call_soon(reader, record)


class MemoryLog:
    """The log of one task."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def commit(
        self, records: Sequence[Outgoing], changes: Mapping[bytes, bytes | None]
    ) -> Receipt:
        """Append everything; nothing can fail in between."""
        for record in records:
            self._broker.append(record)
        now_ms = self._broker.now_ms()
        return Receipt(now_ms, 0, {record.topic: now_ms for record in records})

    async def close(self) -> None:
        """Do nothing: the log holds nothing."""


class MemoryStore(MemoryState):
    """The state of one task."""

    @property
    def size(self) -> int:
        """Its approximate size, in bytes: keys and values."""
        return sum(len(key) + len(value) for key, value in self.items(b""))

    def write(
        self, changes: Mapping[bytes, bytes | None], state_offset: int = 0, appended_ms: int = 0
    ) -> None:
        """Apply a commit's changes."""
        super().write(ends_index.extended(self, changes))

    def scan(self, prefix: bytes, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return at most *limit* entries under *prefix* whose keys are greater than *after*."""
        return list(islice(self.following(prefix, after), limit))

    def close(self) -> None:
        """Do nothing: the store holds nothing."""


class MemoryStream:
    """Stream writes that go straight to the in-process readers."""

    def __init__(self, broker: MemoryBroker, topics: Topics) -> None:
        self._broker = broker
        self._topics = topics

    def write(self, work: Work, attempt_id: str, number: int, event: Event) -> Awaitable[None]:
        """Append *event* to the workflow's stream."""
        return self._append(stream_record(self._topics, work, attempt_id, number, event))

    async def _append(self, record: Outgoing) -> None:
        self._broker.append(record)
