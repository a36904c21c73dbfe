"""
Loading a task: its state from the changelog, then `runs` up to now.

Both are read with `read_committed` up to the last stable offset noted at the start. The task's
producer has been started before, so whatever a predecessor had under way is decided by then.
"""

from collections.abc import Callable, Iterable
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from fleet.config.settings import Settings
from fleet.records.log import Delivered
from fleet.runtime import logs
from fleet.runtime.broker import client_arguments, stop_reader
from fleet.runtime.rocks import RocksStore

_log = logs.get_logger("loading")
_POLL_MS = 200
_BATCH_RECORDS = 2_000


class Loader:
    """A reader of one partition number, in no consumer group."""

    def __init__(self, settings: Settings, partition: int) -> None:
        self._partition = partition
        self._consumer = AIOKafkaConsumer(
            **client_arguments(settings),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=_POLL_MS,
        )

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await stop_reader(self._consumer)

    async def load_state(self, topic: str, store: RocksStore) -> int:
        """Bring *store* up to the changelog's end; return how many records were read."""
        tp = TopicPartition(topic, self._partition)
        end = await self._end(tp)
        if store.state_offset > end:
            # The topic was made anew, or lost records: the folder is about another log.
            _log.warning(
                "state_discarded",
                topic=topic,
                partition=self._partition,
                local_offset=store.state_offset,
                log_end=end,
            )
            store.reset()
        count = 0

        def apply(records: list[Any]) -> None:
            nonlocal count
            count += len(records)
            store.write({each.key: each.value for each in records}, records[-1].offset + 1)

        await self._read(tp, store.state_offset, end, apply)
        return count

    async def read(self, topic: str, offset: int, take: Callable[[Delivered], None]) -> None:
        """Hand the records of *topic* from *offset* up to its end to *take*."""
        tp = TopicPartition(topic, self._partition)

        def take_all(records: list[Any]) -> None:
            for record in records:
                take(delivered(record))

        await self._read(tp, offset, await self._end(tp), take_all)

    async def ends(self, topics: Iterable[str]) -> dict[str, int]:
        """Return the last stable offset of each topic's partition."""
        tps = [TopicPartition(topic, self._partition) for topic in topics]
        return {tp.topic: end for tp, end in (await self._consumer.end_offsets(tps)).items()}

    async def _end(self, tp: TopicPartition) -> int:
        end: int = (await self._consumer.end_offsets([tp]))[tp]
        return end

    async def _read(
        self, tp: TopicPartition, start: int, end: int, take: Callable[[list[Any]], None]
    ) -> None:
        self._consumer.assign([tp])
        if start:
            self._consumer.seek(tp, start)
        else:
            await self._consumer.seek_to_beginning(tp)
        # The position passes transaction markers, which are never handed out as records.
        while await self._consumer.position(tp) < end:
            found = await self._consumer.getmany(
                tp, timeout_ms=_POLL_MS, max_records=_BATCH_RECORDS
            )
            if found:
                take(found[tp])


def delivered(record: Any) -> Delivered:
    """Return an aiokafka record as ours."""
    return Delivered(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        appended_ms=record.timestamp,
        key=record.key,
        value=record.value,
        headers=list(record.headers),
    )
