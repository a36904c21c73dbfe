"""A task's log, with a producer that answers as the test says."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    CorruptRecordException,
    InvalidProducerIdMapping,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
)

from fleet.engine.log import RecordsRefused, TaskLost
from fleet.kafka.producer_errors import BatchesRefused
from fleet.kafka.transactional_log import KafkaLog
from fleet.kafka.transactional_producer import Appended, Undecided
from fleet.records.log import Outgoing

JOKES, STATE = TopicPartition("jokes", 0), TopicPartition("state", 0)


class Batch:
    """Of four records at most."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    def append(self, *, value: bytes, **_: Any) -> object | None:
        if len(self.values) == 4:
            return None
        self.values.append(value)
        return self


class Producer:
    """Appends what `refuse` does not give a reason against; commits when it is told to."""

    def __init__(self) -> None:
        self.committed: list[list[bytes]] = []
        self.refuse: Callable[[TopicPartition, list[bytes]], KafkaError | None] = (
            lambda _tp, _values: None
        )
        #: Topics that nobody may write to.
        self.forbidden: set[TopicPartition] = set()
        #: What the next transactions fail with.
        self.failures: list[Exception] = []
        self.offset = 40
        self._open: list[bytes] = []

    def create_batch(self) -> Batch:
        return Batch()

    async def apart(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        return await work(self)

    async def transact(self, batches: Mapping[TopicPartition, Sequence[Batch]]) -> list[Appended]:
        if self.failures:
            raise self.failures.pop(0)
        appended = await self.append(batches)
        await self.end(commit=True)
        return appended

    async def append(self, batches: Mapping[TopicPartition, Sequence[Batch]]) -> list[Appended]:
        forbidden = self.forbidden & batches.keys()
        if forbidden:
            raise BatchesRefused({tp: TopicAuthorizationFailedError() for tp in forbidden})
        return await self.append_more(batches)

    async def append_more(
        self, batches: Mapping[TopicPartition, Sequence[Batch]]
    ) -> list[Appended]:
        appended = []
        for tp, several in batches.items():
            for batch in several:
                reason = self.refuse(tp, batch.values)
                if reason is not None:
                    raise BatchesRefused({tp: reason})
                self._open += batch.values
                appended.append(Appended(tp.topic, self.offset, 1_000, tp.partition))
        return appended

    async def end(self, *, commit: bool) -> None:
        if commit:
            self.committed.append(self._open)
        self._open = []


class Clients:
    """Gives out one producer."""

    def __init__(self) -> None:
        self.producer = Producer()

    def producer_apart(self, **_: Any) -> Producer:
        return self.producer


@pytest.fixture
def producer() -> Producer:
    return Producer()


@pytest.fixture
def log(producer: Producer) -> KafkaLog:
    clients: Any = Clients()
    clients.producer = producer
    return KafkaLog(clients, "task", 0, "state")


def joke(value: bytes) -> Outgoing:
    return Outgoing("jokes", b"run", value, [])


class TestOtherPartitions:
    async def test_a_record_goes_to_the_partition_that_it_names(
        self, log: KafkaLog, producer: Producer
    ) -> None:
        """In the same transaction; the time of its append is that of another broker."""
        seen: list[tuple[str, int]] = []

        def note(tp: TopicPartition, _values: list[bytes]) -> None:
            seen.append((tp.topic, tp.partition))

        producer.refuse = note
        receipt = await log.commit([joke(b"own"), joke(b"other")._replace(partition=3)], {})
        assert seen == [("jokes", 0), ("jokes", 3)]
        assert producer.committed == [[b"own", b"other"]]
        assert receipt.times == {"jokes": 1_000}
        elsewhere = Outgoing("inbox", b"run", b"", [], partition=3)
        assert (await log.commit([elsewhere], {b"key": b"value"})).times == {"state": 1_000}


class TestRefusedRecords:
    async def test_each_culprit_is_found_and_nothing_is_committed(
        self, log: KafkaLog, producer: Producer
    ) -> None:
        """Among others, in several batches."""
        records = [joke(b"%d" % each) for each in range(11)]
        large = {b"2", b"3", b"9"}
        producer.refuse = lambda _, values: (
            MessageSizeTooLargeError() if large & set(values) else None
        )
        with pytest.raises(RecordsRefused) as refused:
            await log.commit(records, {b"key": b"value"})
        assert [each.value for each, _ in refused.value.refused] == [b"2", b"3", b"9"]
        assert all(any(each is one for one in records) for each, _ in refused.value.refused)
        assert producer.committed == []

    async def test_the_log_can_be_used_again(self, log: KafkaLog, producer: Producer) -> None:
        """With what is left, or anything else."""
        producer.refuse = lambda _, values: (
            MessageSizeTooLargeError() if b"large" in values else None
        )
        with pytest.raises(RecordsRefused):
            await log.commit([joke(b"large"), joke(b"small")], {})
        await log.commit([joke(b"small")], {})
        assert producer.committed == [[b"small"]]

    async def test_records_that_are_taken_in_smaller_batches_are_committed_in_order(
        self, log: KafkaLog, producer: Producer
    ) -> None:
        """Each once."""
        producer.refuse = lambda _, values: MessageSizeTooLargeError() if len(values) > 1 else None
        values = [b"%d" % each for each in range(9)]
        await log.commit([joke(each) for each in values], {})
        assert producer.committed == [values]

    async def test_all_records_of_a_topic_that_is_forbidden_are_culprits(
        self, log: KafkaLog, producer: Producer
    ) -> None:
        """The broker says so before it looks at a batch."""
        producer.forbidden = {JOKES}
        producer.failures = [BatchesRefused({JOKES: TopicAuthorizationFailedError()})]
        with pytest.raises(RecordsRefused) as refused:
            await log.commit([joke(b"1"), joke(b"2"), Outgoing("other", b"run", b"3", [])], {})
        assert [each.value for each, _ in refused.value.refused] == [b"1", b"2"]

    async def test_a_state_that_is_forbidden_is_tried_again(
        self, log: KafkaLog, producer: Producer
    ) -> None:
        """No step is at fault: somebody has to give the worker its rights back."""
        producer.failures = [BatchesRefused({STATE: TopicAuthorizationFailedError()})]
        await log.commit([joke(b"1")], {b"key": b"value"})
        assert producer.committed == [[b"1", b"value"]]

    async def test_what_the_next_try_may_mend_is_no_culprit(
        self, log: KafkaLog, producer: Producer
    ) -> None:
        """A batch that was damaged on its way, say."""
        producer.failures = [BatchesRefused({JOKES: CorruptRecordException()})]
        await log.commit([joke(b"1")], {})
        assert producer.committed == [[b"1"]]


class TestReceipts:
    async def test_a_duplicate_without_a_place_moves_the_state_nowhere(
        self, log: KafkaLog, producer: Producer
    ) -> None:
        """0 means that it is where it was; a local copy at -1 could not be loaded."""
        producer.offset = -1
        receipt = await log.commit([], {b"key": b"value"})
        assert receipt.state_offset == 0


class TestLostTasks:
    @pytest.mark.parametrize("failure", [InvalidProducerIdMapping(), Undecided()])
    async def test_what_is_not_known_or_not_ours_any_more_is_not_tried_again(
        self, log: KafkaLog, producer: Producer, failure: Exception
    ) -> None:
        """An id that expired may be somebody else's; a commit may be through."""
        producer.failures = [failure]
        with pytest.raises(TaskLost):
            await log.commit([joke(b"1")], {})
        assert producer.committed == []
