"""Reading spans of partitions to their ends, and reading on and on."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import TopicPartition
from log_in_memory import FIRST_MS, Clients, Log

from fleet.kafka.topic_reader import Batch, ConsumerStalled, Reading, TopicReader
from fleet.records.log import Delivered

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def reader(log: Log) -> TopicReader:
    return TopicReader(Clients(log))  # type: ignore[arg-type]


async def batches(reader: TopicReader, spans: Any, **options: Any) -> list[Batch]:
    return [batch async for batch in reader.read(spans, **options)]


async def gather(reading: Reading, take: Callable[[Batch], object]) -> None:
    async for batch in reading:
        take(batch)


def offsets(found: list[Batch], tp: TopicPartition = A) -> list[int]:
    return [record.offset for batch in found for record in batch.records.get(tp, ())]


async def test_a_span_is_read_to_its_end_and_no_further(reader: TopicReader, log: Log) -> None:
    """Each partition in its order; the positions end where the spans do."""
    for _ in range(5):
        log.append(A)
        log.append(B)
    found = await batches(reader, {A: (1, 4), B: (0, 5)})
    assert offsets(found) == [1, 2, 3]
    assert offsets(found, B) == [0, 1, 2, 3, 4]
    assert {tp: at for batch in found for tp, at in batch.positions.items()} == {A: 4, B: 5}


async def test_a_span_may_hold_nothing_but_markers(reader: TopicReader, log: Log) -> None:
    """Its end is a position, not a record."""
    log.append(A)
    log.mark(A, 9)
    found = await batches(reader, {A: (1, 10)})
    assert (offsets(found), found[-1].positions) == ([], {A: 10})


async def test_an_empty_span_asks_the_broker_nothing(reader: TopicReader) -> None:
    """Nothing is assigned for it either."""
    assert await batches(reader, {A: (4, 4), B: (4, 2)}) == []
    assert reader.consumer.positions == {}


async def test_a_span_may_begin_before_the_log(reader: TopicReader, log: Log) -> None:
    """Retention has removed some of it, or all."""
    for _ in range(6):
        log.append(A)
        log.append(B)
    log.begin |= {A: 2, B: 5}
    found = await batches(reader, {A: (0, 4), B: (0, 4)})
    assert (offsets(found), offsets(found, B)) == ([2, 3], [])


async def test_batches_are_as_small_as_wanted(reader: TopicReader, log: Log) -> None:
    """The positions of a batch are those behind its records."""
    for _ in range(5):
        log.append(A)
    found = await batches(reader, {A: (0, 5)}, max_records=2)
    assert [len(batch.records[A]) for batch in found] == [2, 2, 1]
    assert [batch.positions[A] for batch in found] == [2, 4, 5]


async def test_a_partition_can_be_dropped(reader: TopicReader, log: Log) -> None:
    """The others are read on; it is not fetched any more."""
    for _ in range(4):
        log.append(A)
        log.append(B)
    reading = reader.read({A: (0, 4), B: (0, 4)}, max_records=1)
    found = []
    async for batch in reading:
        found.append(batch)
        if A in batch.records:
            reading.drop(A)
    assert (offsets(found), offsets(found, B)) == ([0], [0, 1, 2, 3])
    assert reader.consumer.paused == {A, B}


async def test_a_log_that_is_shorter_than_it_was_is_stalled(reader: TopicReader, log: Log) -> None:
    """It was replaced, and its end never comes; what it has is not taken for the old records."""
    for _ in range(3):
        log.append(A)
    found: list[Batch] = []
    with pytest.raises(ConsumerStalled, match=r"nothing to read for 0\.05 s"):
        await gather(reader.read({A: (7, 9)}, stalled_seconds=0.05), found.append)
    assert offsets(found) == []


async def test_a_broker_that_stands_is_stalled(reader: TopicReader, log: Log) -> None:
    """After the time without progress; what came before that was read."""
    for _ in range(4):
        log.append(A)
    found: list[Batch] = []

    def take(batch: Batch) -> None:
        found.append(batch)
        reader.consumer.answers.clear()

    with pytest.raises(ConsumerStalled):
        await gather(reader.read({A: (0, 4)}, max_records=2, stalled_seconds=0.05), take)
    assert offsets(found) == [0, 1]


async def test_a_poll_that_never_ends_is_stalled(
    reader: TopicReader, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client can wait for a position for as long as the broker is away."""
    log.append(A)

    async def never(_: TopicPartition) -> int:
        await asyncio.Event().wait()
        return 0

    monkeypatch.setattr(reader.consumer, "position", never)
    with pytest.raises(ConsumerStalled):
        await batches(reader, {A: (0, 1)}, stalled_seconds=0.05)


async def test_a_slow_caller_is_no_stall(reader: TopicReader, log: Log) -> None:
    """Only the time that the reader waits counts, not the time between batches."""
    for _ in range(3):
        log.append(A)
    found = []
    async for batch in reader.read({A: (0, 3)}, max_records=1, stalled_seconds=0.05):
        found.append(batch)
        await asyncio.sleep(0.06)
    assert offsets(found) == [0, 1, 2]


async def test_a_timeout_of_the_client_is_told_as_it_is(
    reader: TopicReader, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no stall."""
    log.append(A)

    async def late(_: TopicPartition) -> int:
        raise TimeoutError("late")

    monkeypatch.setattr(reader.consumer, "position", late)
    with pytest.raises(TimeoutError, match="late"):
        await batches(reader, {A: (0, 1)})


async def test_everything_and_then_what_is_new_is_handed_on(reader: TopicReader, log: Log) -> None:
    """As Delivered; from a time on if wanted."""
    taken: list[Delivered] = []
    for _ in range(3):
        log.append(A, b"k", b"v")
    log.append(B)
    read_to = await reader.take_all([A, B], taken.append, FIRST_MS + 1_500)
    assert [(each.partition, each.offset) for each in taken] == [(0, 2)]
    assert taken[0] == Delivered("t", 0, 2, FIRST_MS + 2_000, b"k", b"v", [])
    assert read_to == {A: 3, B: 1}
    log.append(B)
    assert await reader.take_new(read_to, taken.append) == {A: 3, B: 2}
    assert [(each.partition, each.offset) for each in taken[1:]] == [(1, 1)]


async def test_following_goes_on_until_the_caller_leaves(reader: TopicReader, log: Log) -> None:
    """It yields nothing now and then, so that the caller can look."""
    log.append(A)
    seen: list[int] = []
    polls = 0
    async for found in reader.follow({A: 1, B: 0}):
        seen += [record.offset for records in found.values() for record in records]
        polls += 1
        if polls == 2:
            log.append(A)
            log.append(B)
        if len(seen) == 2:
            break
    assert (sorted(seen), polls) == ([0, 1], 3)


async def test_a_reader_that_cannot_connect_is_stopped(
    reader: TopicReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its connections would stay open."""
    stopped = []

    async def fail() -> None:
        raise OSError("refused")

    async def stop() -> None:
        stopped.append(True)

    monkeypatch.setattr(reader.consumer, "start", fail)
    monkeypatch.setattr(reader.consumer, "stop", stop)
    with pytest.raises(OSError, match="refused"):
        async with reader:
            pass
    assert stopped == [True]
