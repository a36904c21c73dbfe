"""
A caller's way to Kafka: one producer, and one reader in no consumer group.

The reader follows `runs` and `stream`, only in the partitions of open runs. Where a partition
begins to be followed its end is noted before the start event is produced, so nothing is missed.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from fleet.config.settings import Settings
from fleet.records.log import Delivered, Outgoing
from fleet.records.topics import Topics
from fleet.runtime.broker import BATCH_BYTES, BrokerUnreachable, Clients, stop_reader
from fleet.runtime.loading import delivered
from fleet.workflow.errors import WorkflowRuntimeError

_POLL_MS = 100
#: As for the workers: a fetch in flight keeps newly followed partitions waiting, in milliseconds.
_FETCH_WAIT_MS = 20
#: How long a partition without open runs is followed on, in seconds.
_IDLE_SECONDS = 30.0
#: How often ends of `stream` are asked for that nobody waits for, in seconds.
_ASK_SECONDS = 0.1


# A run's partition is asked for a few times, and the hash is written in Python.
@lru_cache(maxsize=50_000)
def partition_of(run_id: str, partitions: int) -> int:
    """Return the partition of a run's records: Kafka's default hash of its id."""
    every = list(range(partitions))
    chosen: int = DefaultPartitioner()(run_id.encode(), every, every)
    return chosen


class LogUnreadable(WorkflowRuntimeError):
    """Raised to whoever awaits a run when this process cannot read the log any more."""

    def __init__(self, failure: BaseException) -> None:
        super().__init__(
            f"the log cannot be read any more ({failure!r}); the run itself goes on: connect again "
            "and use the same run_id to hear of its end"
        )


class Reader(Protocol):
    """Who wants the records."""

    def take(self, record: Delivered) -> None:
        """Take a record of `runs` or `stream`."""
        ...

    def fail_all(self, error: BaseException) -> None:
        """Hear that nothing can be read any more."""
        ...


@dataclass(eq=False, slots=True)
class _StreamEnd:
    """Who is to be called when a partition of `stream` is read to its present end."""

    partition: int
    done: list[Callable[[], None]] = field(default_factory=list)
    #: Somebody waits for it.
    soon: bool = False
    #: Known when it was asked for.
    offset: int = 0

    def reached(self) -> None:
        for each in self.done:
            each()


class KafkaLink:
    """See `fleet.runtime.caller.Link`."""

    def __init__(
        self,
        settings: Settings,
        topics: Topics,
        partitions: int,
        clients: Clients | None = None,
    ) -> None:
        self._settings = settings
        self._clients = clients or Clients(settings)
        self._topics = topics
        self._partitions = partitions
        #: How many open runs each followed partition has.
        self._open: Counter[int] = Counter()
        self._followed: set[int] = set()
        self._follows_some = asyncio.Event()
        #: Offset of `runs` at which each followed partition began to be followed.
        self._began: dict[int, int] = {}
        #: Since when a followed partition has had no open run, in seconds of the loop's clock.
        self._idle_since: dict[int, float] = {}
        self._following = asyncio.Lock()
        #: By partition: the end that is to be asked for.
        self._to_ask: dict[int, _StreamEnd] = {}
        #: Ends that are known.
        self._to_reach: list[_StreamEnd] = []
        #: When ends were asked for, in seconds of the loop's clock.
        self._asked = 0.0
        self._loop: asyncio.Task[None] | None = None

    async def start(self, reader: Reader) -> None:
        """Connect, and hand records to *reader*; raises BrokerUnreachable."""
        # With aiokafka's 16 KiB, thousands of starts at once wait for one another.
        self._producer = self._clients.producer(enable_idempotence=True, max_batch_size=BATCH_BYTES)
        self._consumer = self._clients.reader(fetch_max_wait_ms=_FETCH_WAIT_MS)
        try:
            await self._producer.start()
            await self._consumer.start()
        except (KafkaError, OSError) as failure:
            await self.stop()
            raise BrokerUnreachable(self._settings, failure) from None
        self._loop = asyncio.create_task(self._read(reader), name="fleet reader")

    async def stop(self) -> None:
        """Disconnect."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        await self._producer.stop()
        await stop_reader(self._consumer)

    async def follow(self, run_id: str) -> None:
        """Read the run's partition of `runs` and `stream` from here on."""
        partition = partition_of(run_id, self._partitions)
        self._open[partition] += 1
        if partition in self._followed:
            return
        async with self._following:
            if partition not in self._followed:
                await self._assign(self._followed | {partition})

    def followed_from(self, run_id: str) -> int:
        """Return the offset of `runs` since which its partition has been read without a gap."""
        return self._began.get(partition_of(run_id, self._partitions), 0)

    def unfollow(self, run_id: str) -> None:
        """Let the run's partition go when no other run of it is open."""
        self._open[partition_of(run_id, self._partitions)] -= 1

    async def send(self, record: Outgoing) -> None:
        """Append one record; return when the broker has acknowledged it."""
        run_id = record.key.decode()
        await self._producer.send_and_wait(
            record.topic,
            key=record.key,
            value=record.value,
            headers=record.headers,
            partition=partition_of(run_id, self._partitions),
        )

    async def rewind(self, run_id: str, offset: int) -> None:
        """Read the run's partition of `runs` from *offset* again."""
        async with self._following:
            tp = self._runs(partition_of(run_id, self._partitions))
            if await self._consumer.position(tp) > offset:
                self._consumer.seek(tp, offset)

    def when_stream_read(self, run_id: str, done: Callable[[], None], *, soon: bool) -> None:
        """Call *done* when all that is in the run's partition of `stream` by now was taken."""
        partition = partition_of(run_id, self._partitions)
        if partition not in self._followed:
            asyncio.get_running_loop().call_soon(done)
            return
        end = self._to_ask.setdefault(partition, _StreamEnd(partition))
        end.done.append(done)
        end.soon = end.soon or soon

    async def _read(self, reader: Reader) -> None:
        while True:
            try:
                await self._release_idle()
                await self._read_once(reader)
            except Exception as failure:
                reader.fail_all(LogUnreadable(failure))
                self._followed.clear()
                self._follows_some.clear()
                self._release()
                raise

    async def _read_once(self, reader: Reader) -> None:
        await self._follows_some.wait()
        found: dict[Any, list[Any]] = await self._consumer.getmany(timeout_ms=_POLL_MS)
        # The stream first: what a step showed is there before its result is.
        for tp in sorted(found, key=lambda each: each.topic != self._topics.stream):
            for record in found[tp]:
                reader.take(delivered(record))
        await self._end_streams()

    async def _end_streams(self) -> None:
        """Call whoever waited for what was read; find out how far the others have to wait."""
        await self._ask_ends()
        for end in list(self._to_reach):
            if end.partition not in self._followed or await self._is_reached(end):
                self._to_reach.remove(end)
                end.reached()

    async def _ask_ends(self) -> None:
        now = asyncio.get_running_loop().time()
        soon = any(end.soon for end in self._to_ask.values())
        if soon or (self._to_ask and now - self._asked >= _ASK_SECONDS):
            self._asked = now
            asked, self._to_ask = self._to_ask, {}
            self._to_reach += asked.values()
            ends = await self._consumer.end_offsets([self._stream(each) for each in asked])
            for partition, end in asked.items():
                end.offset = ends[self._stream(partition)]

    async def _is_reached(self, end: _StreamEnd) -> bool:
        position: int = await self._consumer.position(self._stream(end.partition))
        return position >= end.offset

    def _release(self) -> None:
        """Let nobody wait: nothing is read any more."""
        waiting = [*self._to_ask.values(), *self._to_reach]
        self._to_ask, self._to_reach = {}, []
        for end in waiting:
            end.reached()

    async def _release_idle(self) -> None:
        """Let partitions go that had no open run for a while; assigning anew costs a pause."""
        now = asyncio.get_running_loop().time()
        for partition in self._followed:
            if self._open[partition]:
                self._idle_since.pop(partition, None)
            else:
                self._idle_since.setdefault(partition, now)
        idle = {each for each, since in self._idle_since.items() if now - since > _IDLE_SECONDS}
        if idle:
            async with self._following:
                still = {partition for partition in idle if not self._open[partition]}
                await self._assign(self._followed - still)
                for partition in idle:
                    del self._idle_since[partition]

    async def _assign(self, partitions: set[int]) -> None:
        """Follow exactly these partitions: known ones from where they are, new ones from the end.

        Assigning drops all positions, so each is sought again.
        """
        kept = self._followed & partitions
        positions = {tp: await self._consumer.position(tp) for tp in self._tps(kept)}
        new = self._tps(partitions - kept)
        positions |= await self._consumer.end_offsets(new) if new else {}
        for partition in partitions - kept:
            self._began[partition] = positions[self._runs(partition)]
        self._consumer.assign(list(positions))
        for tp, offset in positions.items():
            self._consumer.seek(tp, offset)
        self._followed = set(partitions)
        if partitions:
            self._follows_some.set()
        else:
            self._follows_some.clear()

    def _tps(self, partitions: set[int]) -> list[TopicPartition]:
        return [tp for each in sorted(partitions) for tp in (self._runs(each), self._stream(each))]

    def _runs(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topics.runs, partition)

    def _stream(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topics.stream, partition)
