"""
A caller's way to Kafka: one producer, and one reader in no consumer group.

The reader follows `runs` and `stream`, only in the partitions of open runs. Where a partition
begins to be followed its end is noted before the start event is produced, so nothing is missed.
How far each was read is kept here, not in the client: an assignment drops all positions, and a
client that failed is replaced by one that reads on from there.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from aiokafka import TopicPartition
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
    UnsupportedVersionError,
)

from fleet.config import logs
from fleet.config.settings import Settings
from fleet.kafka.caller_topics import CallerTopics
from fleet.kafka.clients import BrokerUnreachable, Clients
from fleet.kafka.look_back import LookBack
from fleet.kafka.records import delivered
from fleet.kafka.topic_reader import ConsumerStalled, StallWatch, TopicReader
from fleet.kafka.writer import Writer
from fleet.records.log import Delivered, Outgoing
from fleet.records.partitions import partition_of
from fleet.records.topics import Topics
from fleet.workflow.errors import WorkflowRuntimeError

_log = logs.get_logger("caller")
#: As for the workers: a fetch in flight keeps newly followed partitions waiting, in milliseconds.
_FETCH_WAIT_MS = 20
#: How long a partition without open runs is followed on, in seconds.
_IDLE_SECONDS = 30.0
#: How often ends of `stream` are asked for that nobody waits for, in seconds.
_ASK_SECONDS = 0.1
#: How often the logs' ends are asked for, in seconds; see `StallWatch`.
WATCH_SECONDS = 5.0
#: Between two attempts after an error of Kafka, in seconds.
RETRY_SECONDS = 0.2
#: How long the broker may take to tell the ids of topics, in seconds.
ANSWER_SECONDS = 10.0
#: How long consumers that were replaced may take to stop when the transport does, in seconds.
_STOP_SECONDS = 5.0
#: Trying again does not help against these.
_HOPELESS = (
    ClusterAuthorizationFailedError,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
    UnsupportedVersionError,
)


class LogUnreadable(WorkflowRuntimeError):
    """Raised by `await handler` when this process cannot read the log any more."""

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


class KafkaTransport:
    """See `fleet.client.transport.Transport`."""

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
        self._writer = Writer(self._clients)
        self._known_topics = CallerTopics([topics.runs, topics.stream, topics.inbox])
        self._past = LookBack(self._clients, topics.runs)
        #: Made when the link starts, and when it connects again.
        self._reader: TopicReader
        #: How many open runs each followed partition has.
        self._open: Counter[int] = Counter()
        self._followed: set[int] = set()
        #: Partitions that are about to be followed: all at once, as each time costs a pause.
        self._wanted: set[int] = set()
        self._follows_some = asyncio.Event()
        #: Next offset to take, of each followed partition of `runs` and `stream`.
        self._positions: dict[TopicPartition, int] = {}
        #: Offset of `runs` at which each followed partition began to be followed.
        self._began: dict[int, int] = {}
        #: Since when a followed partition has had no open run, in seconds of the loop's clock.
        self._idle_since: dict[int, float] = {}
        #: Held by who changes what is followed, or replaces the consumer.
        self._following = asyncio.Lock()
        #: By partition: the end that is to be asked for.
        self._to_ask: dict[int, _StreamEnd] = {}
        #: Ends that are known.
        self._to_reach: list[_StreamEnd] = []
        #: When ends were asked for, in seconds of the loop's clock.
        self._asked = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._loop: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._watch = StallWatch()
        self._stalled = False
        self._stopping: set[asyncio.Task[None]] = set()

    async def start(self, reader: Reader) -> None:
        """Connect, and hand records to *reader*; raises BrokerUnreachable."""
        self._reader = self._new_reader()
        try:
            await self._writer.start()
            await self._reader.start()
        except (KafkaError, OSError) as failure:
            await self.stop()
            raise BrokerUnreachable(self._settings, failure) from None
        self._loop = asyncio.create_task(self._read(reader), name="fleet reader")
        self._watching = asyncio.create_task(self._look_after(reader), name="fleet reader watch")

    async def stop(self) -> None:
        """Disconnect."""
        tasks = [each for each in (self._loop, self._watching, self._asking) if each is not None]
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._past.stop()
        await self._writer.stop()
        await self._reader.stop()
        if self._stopping:
            await asyncio.wait(self._stopping, timeout=_STOP_SECONDS)

    async def follow(self, run_id: str) -> None:
        """Read the run's partition of `runs` and `stream` from here on.

        Tries for as long as nobody cancels it; raises what trying again does not help against.
        """
        partition = self._partition(run_id)
        self._open[partition] += 1
        while partition not in self._followed:
            self._wanted.add(partition)
            async with self._following:
                try:
                    await self._follow_wanted()
                except _HOPELESS:
                    raise
                except (KafkaError, OSError) as failure:
                    _log.warning("partition_not_followed", error=repr(failure))
                    await asyncio.sleep(RETRY_SECONDS)

    def followed_from(self, run_id: str) -> int:
        """Return the offset of `runs` since which its partition has been read without a gap."""
        return self._began.get(self._partition(run_id), 0)

    def unfollow(self, run_id: str) -> None:
        """Let the run's partition go when no other run of it is open."""
        self._open[self._partition(run_id)] -= 1

    async def send(self, record: Outgoing, *, repeatable: bool) -> None:
        """Append one record; return when the broker has acknowledged it.

        Tries for as long as nobody cancels it; see `Writer.append`.
        """
        partition = self._partition(record.key.decode())
        self._known_topics.names.add(record.topic)
        await self._writer.append(record, partition, repeatable=repeatable)

    async def look_back(self, run_id: str, offset: int) -> list[Delivered]:
        """Return the run's records of `runs` from *offset* up to what was taken by now."""
        partition = self._partition(run_id)
        end = self._positions.get(self._runs(partition), 0)
        return await self._past.read(partition, run_id.encode(), offset, end)

    def when_stream_read(self, run_id: str, done: Callable[[], None], *, soon: bool) -> None:
        """Call *done* when all that is in the run's partition of `stream` by now was taken."""
        partition = self._partition(run_id)
        if partition not in self._followed:
            asyncio.get_running_loop().call_soon(done)
            return
        end = self._to_ask.setdefault(partition, _StreamEnd(partition))
        end.done.append(done)
        end.soon = end.soon or soon

    async def workers(self, group: str) -> int:
        """Return how many workers the step group has; raises KafkaError."""
        return await self._clients.members(self._reader.consumer, group)

    # -- reading ----------------------------------------------------------------------------------

    async def _read(self, reader: Reader) -> None:
        while True:
            try:
                await self._release_idle()
                await self._read_once(reader)
            except Exception as failure:  # noqa: BLE001 - whatever it is, later runs need a reader
                _log.warning("caller_reconnects", error=repr(failure))
                if not isinstance(failure, KafkaError | OSError) or isinstance(failure, _HOPELESS):
                    self._give_up(reader, failure)
                await asyncio.sleep(RETRY_SECONDS)
                await self._reconnect()

    async def _read_once(self, reader: Reader) -> None:
        await self._follows_some.wait()
        if self._stalled:
            self._stalled = False
            raise ConsumerStalled
        found = await self._reader.poll()
        # From here on nothing is awaited: what the client has handed out is taken.
        # The stream first: what a step showed is there before its result is.
        for tp in sorted(found, key=lambda tp: tp.topic != self._topics.stream):
            for record in found[tp]:
                if record.offset >= self._positions.get(tp, record.offset + 1):
                    self._positions[tp] = record.offset + 1
                    reader.take(delivered(record))
        self._ask_soon()
        await self._end_streams()

    async def _look_at_topics(self, reader: Reader) -> None:
        """End the wait for all runs when a topic is another one than it was."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                found = await self._clients.log_ids(self._reader.consumer, self._known_topics.names)
        except (KafkaError, OSError, TimeoutError):
            return
        problem = self._known_topics.compare(found)
        if problem is not None:
            _log.warning("topic_replaced", reason=str(problem))
            self._forget(reader, problem)

    async def _look_after(self, reader: Reader) -> None:
        """Notice a consumer that gets nothing any more, and topics that are others."""
        while True:
            await self._look_at_topics(reader)
            await asyncio.sleep(WATCH_SECONDS)
            if not self._positions or not any(self._open.values()):
                continue
            # While the broker is away nobody gets anything.
            with contextlib.suppress(KafkaError, OSError):
                consumer = self._reader.consumer
                ends = await consumer.end_offsets(list(self._positions))
                # The client's positions: they pass what is never handed out as a record.
                positions = {tp: await consumer.position(tp) for tp in list(self._positions)}
                self._stalled = self._watch.is_stalled(positions, ends)

    def _give_up(self, reader: Reader, failure: BaseException) -> None:
        """End the wait for all runs that are open; later ones may be read again."""
        self._forget(reader, LogUnreadable(failure))

    def _forget(self, reader: Reader, error: BaseException) -> None:
        reader.fail_all(error)
        self._followed.clear()
        self._positions.clear()
        self._follows_some.clear()
        self._release()

    async def _reconnect(self) -> None:
        """Read on from the same positions with a new consumer."""
        async with self._following:
            self._stop_soon(self._reader)
            while True:
                self._reader = self._new_reader()
                try:
                    await self._reader.start()
                except (KafkaError, OSError) as failure:
                    _log.warning("caller_not_connected", error=repr(failure))
                    self._stop_soon(self._reader)
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    self._place()
                    return

    def _new_reader(self) -> TopicReader:
        return TopicReader(self._clients, fetch_max_wait_ms=_FETCH_WAIT_MS)

    def _stop_soon(self, reader: TopicReader) -> None:
        task = asyncio.get_running_loop().create_task(reader.stop())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    # -- ends of streams --------------------------------------------------------------------------

    def _ask_soon(self) -> None:
        """Find out how far those have to wait that wait for the end of a stream."""
        if not self._to_ask or (self._asking is not None and not self._asking.done()):
            return
        now = asyncio.get_running_loop().time()
        if any(end.soon for end in self._to_ask.values()) or now - self._asked >= _ASK_SECONDS:
            self._asked = now
            # Beside the reading: an answer may take as long as an outage.
            self._asking = asyncio.create_task(self._ask(), name="fleet stream ends")

    async def _ask(self) -> None:
        asked, self._to_ask = self._to_ask, {}
        try:
            ends = await self._reader.ends([self._stream(each) for each in asked])
        except Exception as failure:  # noqa: BLE001 - asked again for as long as somebody waits
            _log.warning("stream_end_not_known", error=repr(failure))
            self._ask_again(asked)
            await asyncio.sleep(RETRY_SECONDS)
            return
        for partition, end in asked.items():
            end.offset = ends[self._stream(partition)]
        self._to_reach += asked.values()
        await self._end_streams()

    def _ask_again(self, asked: dict[int, _StreamEnd]) -> None:
        for partition, end in asked.items():
            if partition not in self._followed:
                end.reached()
                continue
            later = self._to_ask.setdefault(partition, _StreamEnd(partition))
            later.done += end.done
            later.soon = later.soon or end.soon

    async def _end_streams(self) -> None:
        """Call whoever waited for what was read."""
        for end in list(self._to_reach):
            is_over = end.partition not in self._followed or await self._is_reached(end)
            if is_over and end in self._to_reach:
                self._to_reach.remove(end)
                end.reached()

    async def _is_reached(self, end: _StreamEnd) -> bool:
        tp = self._stream(end.partition)
        if self._positions.get(tp, 0) >= end.offset:
            return True
        # The client's position passes what is never handed out as a record; all else was taken.
        with contextlib.suppress(KafkaError):
            position: int = await self._reader.consumer.position(tp)
            return position >= end.offset
        return False

    def _release(self) -> None:
        """Let nobody wait: nothing is read any more."""
        waiting = [*self._to_ask.values(), *self._to_reach]
        self._to_ask, self._to_reach = {}, []
        for end in waiting:
            end.reached()

    # -- what is followed -------------------------------------------------------------------------

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
                self._followed -= {each for each in idle if not self._open[each]}
                kept = set(self._tps(self._followed))
                self._positions = {tp: at for tp, at in self._positions.items() if tp in kept}
                self._place()
                for partition in idle:
                    self._idle_since.pop(partition, None)

    async def _follow_wanted(self) -> None:
        """Follow what is wanted, from its end."""
        new = self._wanted - self._followed
        ends = await self._reader.ends(self._tps(new))
        # Only now, and nothing is awaited until all are sought: reading went on meanwhile.
        for partition in new:
            self._began[partition] = ends[self._runs(partition)]
        self._positions |= ends
        self._followed |= new
        self._wanted -= new
        if new:
            self._place()

    def _place(self) -> None:
        """Read exactly what is followed, each partition from where it is."""
        self._reader.place(self._positions)
        if self._positions:
            self._follows_some.set()
        else:
            self._follows_some.clear()

    def _tps(self, partitions: set[int]) -> list[TopicPartition]:
        return [tp for each in sorted(partitions) for tp in (self._runs(each), self._stream(each))]

    def _partition(self, run_id: str) -> int:
        return partition_of(run_id, self._partitions)

    def _runs(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topics.runs, partition)

    def _stream(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topics.stream, partition)
