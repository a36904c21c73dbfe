"""
A simulated Kafka: partitions, transactions, fencing, and the order in which readers see it all.

Partitions are independent: a transaction's marker reaches each of its partitions in its own time,
so between topics everything can be reordered. Each partition has a leader and each transactional id
a coordinator, on one of a few nodes; both move. What they know of producers is in `producers`.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from faust.types import TP

from simulation.producers import (
    CONCURRENT_TRANSACTIONS,
    COORDINATOR_NOT_AVAILABLE,
    CORRUPT_MESSAGE,
    DUPLICATE,
    INVALID_ID_MAPPING,
    INVALID_TXN_STATE,
    NONE,
    NOT_COORDINATOR,
    NOT_ENOUGH_REPLICAS,
    NOT_LEADER,
    Answer,
    Batch,
    Content,
    Numbers,
    ProducerId,
    Record,
    Transaction,
)
from simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: As `fleet.kafka.transactional_log.TRANSACTION_TIMEOUT_MS`.
TRANSACTION_SECONDS = 10.0
NODES = 3
#: Chance that a leader knows a duplicate, and not where it is.
FORGETS = 0.3
NOBODY = -1


class Busy(Exception):
    """The coordinator is not ready: ask again after that many seconds."""

    def __init__(self, seconds: float = 0.002) -> None:
        super().__init__(seconds)
        self.seconds = seconds


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
        #: What is known of producers, by their ids.
        self.numbers: dict[int, Numbers] = defaultdict(Numbers)
        #: The first offset: what is below it is gone.
        self.begin = 0

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
            self.wake()

    def mark(self, transaction: Transaction) -> None:
        """Write the marker of a transaction that is decided."""
        if transaction not in self._open:
            # Of a log that was deleted.
            return
        del self._open[transaction]
        self.entries.append(Entry(None))
        self.wake()

    def read(self, position: int, limit: int) -> tuple[list[Record], int]:
        """Return what a `read_committed` reader gets from *position*, and where it is then."""
        found: list[Record] = []
        end = self.end
        if not self.begin <= position <= len(self.entries):
            # Out of range: the consumer asks where the log begins, and reads on from there.
            position = self.begin
        while position < end and len(found) < limit:
            record = self.visible(position)
            position += 1
            if record is not None:
                found.append(record)
        return found, position

    def since(self, time_ms: float) -> Record | None:
        """Return the first record since a time; None if there is none."""
        own = (entry.record for entry in self.entries if entry is not None)
        return next((one for one in own if one is not None and one.timestamp >= time_ms), None)

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

    def cut(self, begin: int) -> list[Record]:
        """Remove what is below *begin*, as retention does; return what a reader has seen there."""
        gone, _ = self.read(self.begin, begin - self.begin) if begin > self.begin else ([], 0)
        gone = [record for record in gone if record.offset < begin]
        self.entries[self.begin : begin] = [None] * (begin - self.begin)
        self.begin = begin
        return gone

    def truncate(self, end: int) -> None:
        """Forget the last records, as a cluster does that elects an unclean leader."""
        del self.entries[end:]
        self._open.clear()
        self.wake()

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

    def wake(self) -> None:
        """Let readers look again."""
        waiting, self.waiting = self.waiting, []
        for wake in waiting:
            wake()


class Broker:
    """All partitions and transactional ids. Each method is one request; it happens at once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.partitions: dict[TP, Partition] = {}
        self.ids: dict[str, ProducerId] = {}
        #: As they were when they were forgotten, until somebody takes them anew.
        self._forgotten: dict[str, ProducerId] = {}
        #: Hears of each transaction that is committed, when that is decided.
        self.on_commit: list[Callable[[Transaction], None]] = []
        #: How often each topic was deleted and created again.
        self._made: Counter[str] = Counter()
        #: What the clock of a node shows, in unix seconds.
        self.clock: Callable[[int], float] = lambda _node: world.now
        #: Hears of each transaction that it gives up on.
        self.on_timeout: Callable[[], None] = lambda: None
        #: Chance of an error that only this transaction suffers from.
        self.refusal = 0.0
        #: The error of records that are refused whoever sends them again; 0 where they are not.
        self.refuses: Callable[[TP, list[Content]], int] = lambda _tp, _records: NONE
        self._transactions = 0
        self._numbers = 0
        self._leaders: dict[TP, int] = {}
        self._coordinators: dict[str, int] = {}

    def at(self, tp: TP) -> Partition:
        """Return a partition."""
        found = self.partitions.get(tp)
        if found is None:
            found = self.partitions[tp] = Partition()
        return found

    def log_id(self, topic: str) -> str:
        """Return the id of the topic that has this name now."""
        return f"{topic}-{self._made[topic]}"

    def replace(self, topic: str) -> None:
        """Delete a topic and create it again."""
        self._made[topic] += 1
        for tp in [each for each in self.partitions if each.topic == topic]:
            before = self.partitions.pop(tp)
            before.wake()

    def topic(self, name: str) -> list[Record]:
        """Return every visible record of a topic."""
        tps = sorted(tp for tp in self.partitions if tp.topic == name)
        return [record for tp in tps for record in self.partitions[tp].records()]

    # -- where things are -----------------------------------------------------------------------

    def leader(self, tp: TP) -> int:
        """Return the node that leads a partition; NOBODY while there is none."""
        return self._leaders.get(tp, len(tp.topic) % NODES)

    def time_of(self, tp: TP) -> float:
        """Return what the clock of a partition's leader shows, in unix seconds."""
        return self.clock(max(self.leader(tp), 0))

    def coordinator(self, name: str) -> int:
        """Return the node that coordinates a transactional id; NOBODY while there is none."""
        return self._coordinators.get(name, len(name) % NODES)

    def move(self, seconds: float) -> None:
        """Let some partitions and ids be elsewhere, after a while in which they are nowhere."""
        random = self._world.random
        moved: list[tuple[dict[Any, int], Any]] = [
            *((self._leaders, tp) for tp in sorted(self.partitions) if random.random() < 0.5),
            *((self._coordinators, name) for name in sorted(self.ids) if random.random() < 0.5),
        ]
        for where, what in moved:
            where[what] = NOBODY
            there = partial(where.__setitem__, what, random.randrange(NODES))
            self._world.after(random.uniform(0, seconds), there)

    # -- requests -----------------------------------------------------------------------------

    def fence(self, name: str) -> None:
        """Take a transactional id from whoever has it, as a stranger does."""
        producer = self.ids.get(name)
        if producer is not None and producer.transaction is None:
            producer.fence(self._world.now)

    def initialise(
        self, node: int, name: str, holder: tuple[int, int] | None = None
    ) -> tuple[int, int, int]:
        """Take a transactional id: fence whoever has it; return an error, the id and the epoch.

        With the id and epoch of its *holder* a new one is given to that one alone.
        """
        if error := self._misdirected(node, name):
            return error, -1, -1
        producer = self.ids.get(name)
        if producer is None:
            self._numbers += 1
            producer = self.ids[name] = ProducerId(self._numbers)
            if name in self._forgotten:
                producer.follow(self._forgotten.pop(name))
        transaction = producer.transaction
        if transaction is not None:
            if transaction.committed is None:
                producer.fence(self._world.now)
                self._decide(producer, committed=False)
            return CONCURRENT_TRANSACTIONS, -1, -1
        if holder is None:
            producer.fence(self._world.now)
        elif error := producer.renew(*holder, self._world.now):
            return error, -1, -1
        producer.used = self._world.now
        return NONE, producer.number, producer.epoch

    def add(self, node: int, name: str, number: int, epoch: int, tps: "Iterable[TP]") -> int:
        """Let a transaction append to partitions, and begin it; return an error."""
        if error := self._misdirected(node, name) or self._judge(name, number, epoch):
            return error
        producer = self.ids[name]
        transaction = producer.transaction
        if transaction is None:
            transaction = self._begin(name, producer)
        elif transaction.committed is not None:
            return CONCURRENT_TRANSACTIONS
        transaction.added.update(tps)
        return NONE

    def append(self, node: int, tp: TP, name: str, batch: Batch) -> Answer:
        """Append the batch of a transaction."""
        transaction = self.ids[name].transaction if name in self.ids else None
        numbers = self.at(tp).numbers[batch.producer_id]
        if error := self._refusal(node, tp, name, batch) or _outside(transaction, tp):
            return Answer(error)
        if (known := numbers.judge(batch)) is not None:
            forgets = self._world.random.random() < FORGETS
            return Answer(DUPLICATE) if forgets and known.error == NONE else known
        answer = Answer(NONE, *self.produce(tp, batch.records, transaction))
        numbers.appended(batch, answer)
        return answer

    def _refusal(self, node: int, tp: TP, name: str, batch: Batch) -> int:
        """Return the error of a batch whoever sends it and when."""
        if node != self.leader(tp):
            return NOT_LEADER
        if self._world.random.random() < self.refusal:
            return CORRUPT_MESSAGE
        return self.refuses(tp, batch.records) or self._judge(name, batch.producer_id, batch.epoch)

    def produce(
        self, tp: TP, records: list[Content], transaction: Transaction | None = None
    ) -> tuple[int, int]:
        """Append records; return the first offset and the append time, in unix milliseconds."""
        partition, appended_ms = self.at(tp), round(self.time_of(tp) * 1000)
        first = len(partition.entries)
        for number, (key, value, headers) in enumerate(records):
            record = Record(
                tp.topic,
                tp.partition,
                first + number,
                appended_ms,
                key,
                value,
                headers,
                self._world.now,
            )
            partition.append(record, transaction)
            if transaction is not None:
                transaction.parts.setdefault(tp, []).append(record)
        return first, appended_ms

    def end(self, node: int, name: str, number: int, epoch: int, *, commit: bool) -> int:
        """Decide a transaction; return an error."""
        if error := self._misdirected(node, name) or self._judge(name, number, epoch):
            return error
        producer = self.ids[name]
        transaction = producer.transaction
        if transaction is None:
            return NONE if producer.last is commit else INVALID_TXN_STATE
        if transaction.committed is None:
            self._decide(producer, committed=commit)
            return NONE
        return CONCURRENT_TRANSACTIONS if transaction.committed is commit else INVALID_TXN_STATE

    def is_held(self, name: str, number: int, epoch: int) -> bool:
        """Whether nobody has taken a transactional id from who has this id and epoch."""
        producer = self.ids.get(name)
        return producer is not None and producer.is_held_by(number, epoch)

    def lost(self, name: str, number: int, epoch: int) -> float | None:
        """Return when a transactional id was taken from who has this id and epoch; None if never.

        In unix seconds.
        """
        producer = self.ids.get(name) or self._forgotten.get(name)
        return producer.lost.get((number, epoch)) if producer is not None else None

    def expire(self) -> None:
        """Forget the transactional ids that nobody has used for long, as after a week."""
        idle = [name for name, each in self.ids.items() if each.is_idle(self._world.now)]
        self._world.note("kafka", f"forgets the transactional ids {idle}")
        for name in idle:
            self._forgotten[name] = self.ids.pop(name)

    # -- transactions -------------------------------------------------------------------------

    def _misdirected(self, node: int, name: str) -> int:
        coordinator = self.coordinator(name)
        if coordinator == NOBODY:
            return COORDINATOR_NOT_AVAILABLE
        return NONE if node == coordinator else NOT_COORDINATOR

    def _judge(self, name: str, number: int, epoch: int) -> int:
        producer = self.ids.get(name)
        return INVALID_ID_MAPPING if producer is None else producer.judge(number, epoch)

    def _begin(self, name: str, producer: ProducerId) -> Transaction:
        self._transactions += 1
        opened = producer.transaction = Transaction(name, self._transactions)
        self._world.after(TRANSACTION_SECONDS, lambda: self._time_out(producer, opened))
        return opened

    def _time_out(self, producer: ProducerId, transaction: Transaction) -> None:
        if producer.transaction is transaction and transaction.committed is None:
            self._world.note("kafka", f"gives up on a transaction of {transaction.owner}")
            self.on_timeout()
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
            self._complete(producer, transaction)

    def _complete(self, producer: ProducerId, transaction: Transaction) -> None:
        producer.transaction, producer.last = None, transaction.committed
        producer.used = self._world.now

    def _mark_soon(self, producer: ProducerId, transaction: Transaction, tp: TP) -> None:
        def mark() -> None:
            partition = self.at(tp)
            partition.mark(transaction)
            partition.numbers[producer.number].marked(producer.epoch)
            transaction.unmarked -= 1
            if not transaction.unmarked:
                self._complete(producer, transaction)

        random = self._world.random
        slow = random.random() < 0.05
        self._world.after(random.uniform(0.1, 0.8) if slow else random.uniform(0, 0.004), mark)


def _outside(transaction: Transaction | None, tp: TP) -> int:
    """Return the error of a batch that is part of no open transaction."""
    if transaction is None or tp not in transaction.added:
        return INVALID_TXN_STATE
    # A leader that hears of transactions under way from the coordinator says it so.
    return NOT_ENOUGH_REPLICAS if transaction.committed is not None else NONE


def _described(transaction: Transaction) -> str:
    decided = "commits" if transaction.committed else "aborts"
    parts = ", ".join(
        f"{tp.topic.rpartition('.')[2]}+{len(records)}" for tp, records in transaction.parts.items()
    )
    return f"{decided} transaction {transaction.number} of {transaction.owner}: {parts}"
