"""
A simulated Kafka: partitions, transactions, fencing, and the order in which readers see it all.

Partitions are independent: a transaction's marker reaches each of its partitions in its own time,
so between topics everything can be reordered. Producers are fenced by epoch as in Kafka; whoever
takes a transactional id waits until what the predecessor left is decided everywhere.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiokafka.errors import ProducerFenced, TopicAuthorizationFailedError
from faust.types import TP

from simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

#: As `fleet.runtime.transactions.TRANSACTION_TIMEOUT_MS`.
TRANSACTION_SECONDS = 10.0


class Busy(Exception):
    """The coordinator is not ready: ask again after that many seconds."""

    def __init__(self, seconds: float = 0.002) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(slots=True)
class Record:
    """A record as aiokafka gives it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


@dataclass(eq=False, slots=True)
class Transaction:
    """What one producer appends together."""

    owner: str
    number: int
    #: Partitions it has appended to, and the records in them.
    parts: dict[TP, list[Record]] = field(default_factory=dict)
    #: None until it is decided.
    committed: bool | None = None
    #: Partitions whose marker is still to be written.
    unmarked: int = 0


@dataclass(slots=True)
class Entry:
    """One offset: a record, or the marker of a transaction."""

    record: Record | None
    transaction: Transaction | None = None


class Partition:
    """One partition of one topic."""

    def __init__(self) -> None:
        #: By offset; None where compaction has removed the record.
        self.entries: list[Entry | None] = []
        #: Transactions that are open here, with the offset at which each began.
        self._open: dict[Transaction, int] = {}
        #: Readers that wait for something new.
        self.waiting: list[Callable[[], None]] = []

    @property
    def end(self) -> int:
        """The last stable offset."""
        return min(self._open.values(), default=len(self.entries))

    def append(self, record: Record, transaction: Transaction | None) -> None:
        """Append a record."""
        if transaction is not None and transaction not in self._open:
            self._open[transaction] = len(self.entries)
        self.entries.append(Entry(record, transaction))
        if transaction is None:
            self._wake()

    def mark(self, transaction: Transaction) -> None:
        """Write the marker of a transaction that is decided."""
        del self._open[transaction]
        self.entries.append(Entry(None))
        self._wake()

    def read(self, position: int, limit: int) -> tuple[list[Record], int]:
        """Return what a `read_committed` reader gets from *position*, and where it is then."""
        found: list[Record] = []
        end = self.end
        while position < end and len(found) < limit:
            record = self.visible(position)
            position += 1
            if record is not None:
                found.append(record)
        return found, position

    def visible(self, offset: int) -> Record | None:
        """Return the record at *offset*, where a reader sees one there."""
        entry = self.entries[offset]
        if entry is None or entry.record is None:
            return None
        transaction = entry.transaction
        return entry.record if transaction is None or transaction.committed else None

    def records(self) -> list[Record]:
        """Return every visible record."""
        return self.read(0, len(self.entries))[0]

    def compact(self, before_ms: float) -> None:
        """Keep the last record of each key below the end, and no tombstone from *before_ms*."""
        latest = {record.key: record.offset for record in self.records()}
        for offset in range(self.end):
            record = self.visible(offset)
            if record is None:
                continue
            old = record.value is None and record.timestamp < before_ms
            if latest[record.key] > offset or old:
                self.entries[offset] = None

    def _wake(self) -> None:
        waiting, self.waiting = self.waiting, []
        for wake in waiting:
            wake()


@dataclass(slots=True)
class ProducerId:
    """A transactional id: who may use it, and its transaction."""

    epoch: int = 0
    transaction: Transaction | None = None
    #: Since when nobody but who has this epoch can commit, in unix seconds.
    fenced: float = 0.0

    def fence(self, now: float) -> None:
        """Let nobody commit who is there by now."""
        self.epoch += 1
        self.fenced = now


class Broker:
    """All partitions and transactional ids. Each method is one request; it happens at once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.partitions: dict[TP, Partition] = {}
        self.ids: dict[str, ProducerId] = {}
        #: Hears of each transaction that is committed, when that is decided.
        self.on_commit: list[Callable[[Transaction], None]] = []
        #: Chance of an error that only this transaction suffers from.
        self.refusal = 0.0
        self._transactions = 0

    def at(self, tp: TP) -> Partition:
        """Return a partition."""
        found = self.partitions.get(tp)
        if found is None:
            found = self.partitions[tp] = Partition()
        return found

    def topic(self, name: str) -> list[Record]:
        """Return every visible record of a topic."""
        tps = sorted(tp for tp in self.partitions if tp.topic == name)
        return [record for tp in tps for record in self.partitions[tp].records()]

    # -- requests -----------------------------------------------------------------------------

    def initialise(self, name: str) -> int:
        """Take a transactional id: fence whoever has it; return the epoch."""
        producer = self.ids.setdefault(name, ProducerId())
        transaction = producer.transaction
        if transaction is not None:
            if transaction.committed is None:
                producer.fence(self._world.now)
                self._decide(producer, committed=False)
            raise Busy
        producer.fence(self._world.now)
        return producer.epoch

    def produce(
        self,
        tp: TP,
        records: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]],
        producer: tuple[str, int] | None = None,
    ) -> tuple[int, int]:
        """Append records; return the first offset and the append time, in unix milliseconds."""
        transaction = self._joined(*producer) if producer else None
        if transaction is not None and self._world.random.random() < self.refusal:
            raise TopicAuthorizationFailedError(tp.topic)
        partition, appended_ms = self.at(tp), round(self._world.now * 1000)
        first = len(partition.entries)
        for number, (key, value, headers) in enumerate(records):
            record = Record(
                tp.topic, tp.partition, first + number, appended_ms, key, value, headers
            )
            partition.append(record, transaction)
            if transaction is not None:
                transaction.parts.setdefault(tp, []).append(record)
        return first, appended_ms

    def end(self, name: str, epoch: int, *, commit: bool) -> None:
        """Decide a transaction."""
        producer = self._checked(name, epoch)
        if producer.transaction is None:
            return
        if producer.transaction.committed is not None:
            raise Busy
        self._decide(producer, committed=commit)

    def is_current(self, name: str, epoch: int) -> bool:
        """Whether *epoch* is the newest of a transactional id."""
        producer = self.ids.get(name)
        return producer is not None and producer.epoch == epoch

    # -- transactions -------------------------------------------------------------------------

    def _checked(self, name: str, epoch: int) -> ProducerId:
        producer = self.ids[name]
        if producer.epoch != epoch:
            raise ProducerFenced
        return producer

    def _joined(self, name: str, epoch: int) -> Transaction:
        producer = self._checked(name, epoch)
        transaction = producer.transaction
        if transaction is None:
            self._transactions += 1
            transaction = producer.transaction = Transaction(name, self._transactions)
            opened = transaction
            self._world.after(TRANSACTION_SECONDS, lambda: self._time_out(producer, opened))
        elif transaction.committed is not None:
            raise Busy
        return transaction

    def _time_out(self, producer: ProducerId, transaction: Transaction) -> None:
        if producer.transaction is transaction and transaction.committed is None:
            self._world.note("kafka", f"gives up on a transaction of {transaction.owner}")
            producer.fence(self._world.now)
            self._decide(producer, committed=False)

    def _decide(self, producer: ProducerId, *, committed: bool) -> None:
        transaction = producer.transaction
        assert transaction is not None
        transaction.committed = committed
        transaction.unmarked = len(transaction.parts)
        self._world.note("kafka", _described(transaction))
        if committed:
            for hear in self.on_commit:
                hear(transaction)
        for tp in transaction.parts:
            self._mark_soon(producer, transaction, tp)
        if not transaction.parts:
            producer.transaction = None

    def _mark_soon(self, producer: ProducerId, transaction: Transaction, tp: TP) -> None:
        def mark() -> None:
            self.at(tp).mark(transaction)
            transaction.unmarked -= 1
            if not transaction.unmarked:
                producer.transaction = None

        random = self._world.random
        slow = random.random() < 0.05
        self._world.after(random.uniform(0.1, 0.8) if slow else random.uniform(0, 0.004), mark)


def _described(transaction: Transaction) -> str:
    decided = "commits" if transaction.committed else "aborts"
    parts = ", ".join(
        f"{tp.topic.rpartition('.')[2]}+{len(records)}" for tp, records in transaction.parts.items()
    )
    return f"{decided} transaction {transaction.number} of {transaction.owner}: {parts}"
