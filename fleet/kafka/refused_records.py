"""
Which records of a transaction the broker refuses, so that the others can be committed.

The broker refuses whole batches. So a refused batch is halved until a single record is refused. The
accepted records of a partition are appended in order, each once. If none is refused in the end (the
batch was too large, its records are not), the transaction can be committed.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from fleet.kafka.producer_errors import BatchesRefused
from fleet.kafka.transactional_producer import Appended, TransactionalProducer, Undecided
from fleet.records.log import Outgoing

#: A batch, and the records in it.
Packed = tuple[Any, list[Outgoing]]
Culprits = list[tuple[Outgoing, KafkaError]]


def by_place(records: Sequence[Outgoing], own: int) -> dict[TopicPartition, list[Outgoing]]:
    """Return the records of each partition, in their order; *own* is that of their task."""
    found: dict[TopicPartition, list[Outgoing]] = defaultdict(list)
    places: dict[tuple[str, int | None], TopicPartition] = {}
    for record in records:
        place = record.topic, record.partition
        if place not in places:
            partition = own if record.partition is None else record.partition
            places[place] = TopicPartition(record.topic, partition)
        found[places[place]].append(record)
    return found


class Search:
    """Appends the accepted records in a new transaction, and commits it if all are accepted."""

    def __init__(
        self,
        producer: TransactionalProducer,
        partition: int,
        packed: Callable[[Sequence[Outgoing]], list[Packed]],
    ) -> None:
        self._producer = producer
        self._partition = partition
        self._packed = packed
        self._acknowledged: list[Appended] = []
        self._culprits: Culprits = []

    async def run(self, records: Sequence[Outgoing]) -> tuple[list[Appended], Culprits]:
        """Return the appended batches, and the refused records: with any, nothing is committed.

        Raises what `TransactionalProducer.transact` does.
        """
        tps = by_place(records, self._partition)
        try:
            await self._producer.append(dict.fromkeys(tps, ()))
        except BatchesRefused as forbidden:
            # The broker looked at no batch: the topics are refused.
            self._blame(tps, forbidden)
            return [], self._culprits
        for tp, of_topic in tps.items():
            for batch, inside in self._packed(of_topic):
                await self._try(tp, batch, inside)
        await self._end()
        return self._acknowledged, self._culprits

    async def _end(self) -> None:
        try:
            await self._producer.end(commit=not self._culprits)
        except KafkaError as failure:
            raise Undecided from failure

    def _blame(self, tps: dict[TopicPartition, list[Outgoing]], forbidden: BatchesRefused) -> None:
        for tp, reason in forbidden.reasons.items():
            assert isinstance(reason, KafkaError)
            self._culprits += [(record, reason) for record in tps[tp]]

    async def _try(self, tp: TopicPartition, batch: Any, records: list[Outgoing]) -> None:
        try:
            self._acknowledged += await self._producer.append_more({tp: [batch]})
        except BatchesRefused as refused:
            if not refused.is_final:
                raise
            await self._narrow(tp, records, refused)

    async def _narrow(
        self, tp: TopicPartition, records: list[Outgoing], refused: BatchesRefused
    ) -> None:
        if len(records) == 1:
            reason = refused.reasons[tp]
            assert isinstance(reason, KafkaError)
            self._culprits.append((records[0], reason))
            return
        middle = len(records) // 2
        for half in (records[:middle], records[middle:]):
            # Half of a batch's records fit into one batch.
            for batch, inside in self._packed(half):
                await self._try(tp, batch, inside)
