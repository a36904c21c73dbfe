"""When a caller asks where streams end."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from fleet.config.settings import Settings
from fleet.kafka import transport as transports
from fleet.kafka.calling import stream_ends
from fleet.kafka.transport import KafkaTransport
from fleet.records.log import Delivered
from fleet.records.topics import Topics

TOPICS = Topics("fleet", "joke", "main")


class Consumer:
    """Of a broker without records, whose streams end where the test says."""

    def __init__(self) -> None:
        self.asked: list[list[TopicPartition]] = []
        self.positions: dict[TopicPartition, int] = {}
        #: How far partitions that are asked for reach beyond what was read.
        self.ahead = 0
        self.failure: Exception | None = None

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Disconnect."""

    async def send_and_wait(self, *_: Any, **__: Any) -> None:
        """Take a record."""

    def assign(self, tps: list[TopicPartition]) -> None:
        self.positions = dict.fromkeys(tps, 0)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.positions[tp] = offset

    async def position(self, tp: TopicPartition) -> int:
        return self.positions[tp]

    async def end_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        self.asked.append(list(tps))
        return {tp: self.positions.get(tp, 0) + self.ahead for tp in tps}

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return {}


class Clients:
    """Makes the one consumer; what is produced nobody looks at."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def producer(self, **_: Any) -> Any:
        return self._consumer

    def reader(self, **_: Any) -> Any:
        return self._consumer

    async def log_ids(self, _: Any, topics: Iterable[str]) -> dict[str, str]:
        return dict.fromkeys(topics, "id")


class Caller:
    """Who wants the records."""

    def take(self, record: Delivered) -> None:
        """There are none."""

    def fail_all(self, error: BaseException) -> None:
        """The test looks elsewhere."""


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> Consumer:
    """A consumer whose caller asks for ends that nobody waits for once in an hour."""
    monkeypatch.setattr(stream_ends, "_ASK_SECONDS", 3600.0)
    return Consumer()


@pytest.fixture
async def transport(consumer: Consumer) -> AsyncIterator[KafkaTransport]:
    """A transport that follows a run and has asked for ends just now."""
    transport = KafkaTransport(Settings(), TOPICS, 1, Clients(consumer))  # type: ignore[arg-type]
    await transport.start(Caller())
    await transport.follow("a")
    transport._stream_ends._asked = asyncio.get_running_loop().time()
    consumer.asked.clear()
    yield transport
    await transport.stop()


async def turns() -> None:
    """Let the transport read a few times."""
    for _ in range(20):
        await asyncio.sleep(0)


STREAM = [TopicPartition(TOPICS.stream, 0)]


async def test_ends_that_somebody_waits_for_are_asked_for_at_once(
    transport: KafkaTransport, consumer: Consumer
) -> None:
    """With those of the same partition that nobody waits for, in one request."""
    called: list[str] = []
    transport.when_stream_read("a", lambda: called.append("a"), soon=False)
    await turns()
    assert consumer.asked == []
    transport.when_stream_read("b", lambda: called.append("b"), soon=True)
    await turns()
    assert (consumer.asked, called) == ([STREAM], ["a", "b"])


async def test_ends_that_nobody_waits_for_are_asked_for_together(
    transport: KafkaTransport, consumer: Consumer
) -> None:
    """One request for all runs that have ended since the last one."""
    called: list[int] = []
    for run in range(100):
        transport.when_stream_read(str(run), lambda run=run: called.append(run), soon=False)  # type: ignore[misc]
    transport._stream_ends._asked = -3600.0
    await turns()
    assert (consumer.asked, len(called)) == ([STREAM], 100)


async def test_nobody_is_called_before_the_end_is_reached(
    transport: KafkaTransport, consumer: Consumer
) -> None:
    """What the steps have shown is taken first."""
    called: list[str] = []
    consumer.ahead = 2
    transport.when_stream_read("a", lambda: called.append("a"), soon=True)
    await turns()
    assert called == []
    consumer.positions[STREAM[0]] = 2
    await turns()
    assert called == ["a"]


async def test_nobody_waits_for_a_log_that_is_not_read(
    transport: KafkaTransport, consumer: Consumer
) -> None:
    """Neither who has asked before reading failed nor who asks afterwards."""
    called: list[str] = []
    consumer.ahead = 2
    transport.when_stream_read("a", lambda: called.append("known"), soon=True)
    await turns()
    transport.when_stream_read("a", lambda: called.append("unknown"), soon=False)
    consumer.failure = TopicAuthorizationFailedError("stream")
    await turns()
    assert sorted(called) == ["known", "unknown"]
    transport.when_stream_read("a", lambda: called.append("late"), soon=False)
    await turns()
    assert called[-1] == "late"


@pytest.mark.parametrize("failure", [KafkaError("fetcher"), ConnectionError("gone")])
async def test_a_consumer_that_fails_is_replaced(
    transport: KafkaTransport,
    consumer: Consumer,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
) -> None:
    """The new one reads on from the same offsets, and nobody is told anything."""
    monkeypatch.setattr(transports, "RETRY_SECONDS", 0)
    transport._positions[STREAM[0]] = 7
    consumer.failure, consumer.positions = failure, {}
    await turns()
    consumer.failure = None
    assert consumer.positions[STREAM[0]] == 7
    called: list[str] = []
    transport.when_stream_read("a", lambda: called.append("a"), soon=True)
    await turns()
    assert called == ["a"]
