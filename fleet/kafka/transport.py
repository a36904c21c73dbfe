"""
A caller's way to Kafka: one producer, and one reader in no consumer group.

The reader follows `runs` and `stream`, only in the partitions of open runs. It notes a partition's
end before it produces the start event, so it misses nothing. The positions are kept here and not in
the client: an assignment drops them all, and a new client continues from them after a failure.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
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
from fleet.kafka.calling.caller_topics import CallerTopics
from fleet.kafka.calling.look_back import LookBack
from fleet.kafka.calling.run_state import RunState
from fleet.kafka.calling.stream_ends import StreamEnds
from fleet.kafka.clients import BrokerUnreachable, Clients
from fleet.kafka.records import delivered
from fleet.kafka.topic_reader import ConsumerStalled, StallWatch, TopicReader
from fleet.kafka.writer import Writer
from fleet.records.log import Delivered, Outgoing, Page
from fleet.records.partitions import partition_of
from fleet.records.run_entries import RunEntries
from fleet.records.topics import Topics
from fleet.workflow.errors import WorkflowRuntimeError
from fleet.workflow.graph import Graph

_log = logs.get_logger("caller")
#: As for the workers: a fetch in flight keeps newly followed partitions waiting, in milliseconds.
_FETCH_WAIT_MS = 20
#: How long it still follows a partition without open runs, in seconds.
_IDLE_SECONDS = 30.0
#: Between two questions for the logs' ends, in seconds; see `StallWatch`.
WATCH_SECONDS = 5.0
#: Between two attempts after an error of Kafka, in seconds.
RETRY_SECONDS = 0.2
#: How long the broker may take to tell the ids of topics, in seconds.
ANSWER_SECONDS = 10.0
#: How long replaced consumers may take to stop with the transport, in seconds.
_STOP_SECONDS = 5.0
#: Errors against which trying again does not help.
_HOPELESS = (
    ClusterAuthorizationFailedError,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
    UnsupportedVersionError,
)


class LogUnreadable(WorkflowRuntimeError):
    """Raised by `await handler` when this process cannot read the log any more.

    What to do: Connect again, and use the same run id: the run itself continues. Check this
    client's permissions.
    """

    def __init__(self, failure: BaseException) -> None:
        super().__init__(
            f"the log cannot be read any more ({failure!r}); the run itself goes on: connect again "
            "and use the same run_id to hear of its end"
        )


class Reader(Protocol):
    """Takes the records."""

    def take(self, record: Delivered) -> None:
        """Take a record of `runs` or `stream`."""
        ...

    def fail_all(self, error: BaseException) -> None:
        """Hear that nothing can be read any more."""
        ...


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
        self._past_stream = LookBack(self._clients, topics.stream)
        self._state = RunState(self._clients, topics)
        #: Made at the start, and when it connects again.
        self._reader: TopicReader
        #: How many open runs each followed partition has.
        self._open: Counter[int] = Counter()
        self._followed: set[int] = set()
        #: Partitions to follow next, together: each change of the assignment costs a pause.
        self._wanted: set[int] = set()
        self._follows_some = asyncio.Event()
        #: Next offset to take, of each followed partition of `runs` and `stream`.
        self._positions: dict[TopicPartition, int] = {}
        #: Offset of `runs` at which each followed partition began to be followed.
        self._began: dict[int, int] = {}
        #: When a followed partition lost its last open run, in seconds of the loop's clock.
        self._idle_since: dict[int, float] = {}
        #: Held while the followed partitions change, and while the consumer is replaced.
        self._following = asyncio.Lock()
        self._stream_ends = StreamEnds(topics.stream, lambda: self._reader, self._taken)
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
        tasks = [task for task in (self._loop, self._watching) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._stream_ends.stop()
        await self._past.stop()
        await self._past_stream.stop()
        await self._writer.stop()
        await self._reader.stop()
        if self._stopping:
            await asyncio.wait(self._stopping, timeout=_STOP_SECONDS)

    async def follow(self, run_id: str) -> None:
        """Read the run's partition of `runs` and `stream` from here on.

        Tries until it is cancelled; raises an error against which trying again does not help.
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
        """Return the offset of `runs` from which its partition has been read without a gap."""
        return self._began.get(self._partition(run_id), 0)

    def unfollow(self, run_id: str) -> None:
        """Let the run's partition go when no other run of it is open."""
        self._open[self._partition(run_id)] -= 1

    async def send(self, record: Outgoing, *, repeatable: bool) -> None:
        """Append one record; return when the broker has acknowledged it.

        Tries until it is cancelled; see `Writer.append`.
        """
        partition = self._partition(record.key.decode())
        self._known_topics.names.add(record.topic)
        await self._writer.append(record, partition, repeatable=repeatable)

    async def look_back(self, run_id: str, offset: int) -> list[Delivered]:
        """Return the run's records of `runs` from *offset* up to what was read by now."""
        partition = self._partition(run_id)
        end = self._positions.get(self._runs(partition), 0)
        return await self._past.read(partition, run_id.encode(), offset, end)

    def stream_position(self, run_id: str) -> int:
        """Return the offset of `stream` from which the run's records are handed on."""
        return self._positions.get(self._stream(self._partition(run_id)), 0)

    async def stream_since(self, run_id: str, since_ms: int) -> int:
        """Return the first offset of the run's partition of `stream` since a time.

        Tries until it is cancelled; raises an error against which trying again does not help.
        """
        tp = self._stream(self._partition(run_id))
        while True:
            position = self._positions.get(tp, 0)
            try:
                found = await self._reader.from_times({tp: since_ms})
            except _HOPELESS:
                raise
            except (KafkaError, OSError) as failure:
                _log.warning("stream_place_not_found", error=repr(failure))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return found.get(tp, position)

    async def read_stream(self, run_id: str, first: int, end: int) -> Page:
        """Return the run's records of `stream` from offset *first* up to *end*, without *end*."""
        return await self._past_stream.page(self._partition(run_id), run_id.encode(), first, end)

    async def read_run(self, run_id: str) -> RunEntries:
        """Return what is committed of a run in its group's state; raise ContextUnreadable."""
        return await self._state.read(self._partition(run_id), run_id)

    async def running_steps(self, run_id: str, graph: Graph) -> list[str]:
        """Return the names of a run's steps that run now or wait to; raise ContextUnreadable."""
        return await self._state.open_steps(self._partition(run_id), run_id, graph)

    def when_stream_read(self, run_id: str, done: Callable[[], None], *, soon: bool) -> None:
        """Call *done* when everything that the run's partition of `stream` has now was read."""
        self._stream_ends.when_read(self._partition(run_id), done, soon=soon)

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
        # Nothing is awaited from here on: every record that the client has handed out is taken.
        # The stream first: a step's events are there before its result.
        for tp in sorted(found, key=lambda tp: tp.topic != self._topics.stream):
            for record in found[tp]:
                if record.offset >= self._positions.get(tp, record.offset + 1):
                    self._positions[tp] = record.offset + 1
                    reader.take(delivered(record))
        self._stream_ends.ask_soon()
        await self._stream_ends.look()

    async def _look_at_topics(self, reader: Reader) -> None:
        """End the wait for all runs when a topic was replaced by another."""
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
        """Notice a consumer that gets nothing any more, and replaced topics."""
        while True:
            await self._look_at_topics(reader)
            await asyncio.sleep(WATCH_SECONDS)
            if not self._positions or not any(self._open.values()):
                continue
            # While the broker is away, no consumer gets anything.
            with contextlib.suppress(KafkaError, OSError):
                consumer = self._reader.consumer
                ends = await consumer.end_offsets(list(self._positions))
                # The client's positions: they pass offsets that are no records for us.
                positions = {tp: await consumer.position(tp) for tp in list(self._positions)}
                self._stalled = self._watch.is_stalled(positions, ends)

    def _give_up(self, reader: Reader, failure: BaseException) -> None:
        """End the wait for all open runs; later ones may be read again."""
        self._forget(reader, LogUnreadable(failure))

    def _forget(self, reader: Reader, error: BaseException) -> None:
        reader.fail_all(error)
        self._followed.clear()
        self._positions.clear()
        self._follows_some.clear()
        self._stream_ends.release()

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

    # -- what is followed -------------------------------------------------------------------------

    async def _release_idle(self) -> None:
        """Stop following partitions without an open run, after a while: assigning costs a pause."""
        now = asyncio.get_running_loop().time()
        for partition in self._followed:
            if self._open[partition]:
                self._idle_since.pop(partition, None)
            else:
                self._idle_since.setdefault(partition, now)
        idle = {which for which, since in self._idle_since.items() if now - since > _IDLE_SECONDS}
        if idle:
            async with self._following:
                self._followed -= {partition for partition in idle if not self._open[partition]}
                kept = set(self._tps(self._followed))
                self._positions = {tp: at for tp, at in self._positions.items() if tp in kept}
                self._place()
                for partition in idle:
                    self._idle_since.pop(partition, None)

    async def _follow_wanted(self) -> None:
        """Follow the wanted partitions, from their ends."""
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
        """Read exactly the followed partitions, from their positions."""
        self._reader.place(self._positions)
        if self._positions:
            self._follows_some.set()
        else:
            self._follows_some.clear()

    def _tps(self, partitions: set[int]) -> list[TopicPartition]:
        return [tp for p in sorted(partitions) for tp in (self._runs(p), self._stream(p))]

    def _taken(self, tp: TopicPartition) -> int | None:
        """Return the next offset to take; None if the partition is not followed."""
        # Not the dictionary's own method: another dictionary may take its place.
        return self._positions.get(tp)

    def _partition(self, run_id: str) -> int:
        return partition_of(run_id, self._partitions)

    def _runs(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topics.runs, partition)

    def _stream(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topics.stream, partition)
