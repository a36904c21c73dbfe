"""
What a broker knows of producers: their ids and epochs, their transactions, their numbers.

As Kafka 4 has it for clients that name the partitions of a transaction before they write to them:
the coordinator's answers (`TransactionCoordinator`), and those of a partition's leader
(`ProducerStateManager`), with the errors of the versions that aiokafka speaks.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from faust.types import TP

Content = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]

NONE = 0
UNKNOWN_SERVER_ERROR = -1
CORRUPT_MESSAGE = 2
LEADER_NOT_AVAILABLE = 5
NOT_LEADER = 6
REQUEST_TIMED_OUT = 7
MESSAGE_TOO_LARGE = 10
COORDINATOR_LOADING = 14
COORDINATOR_NOT_AVAILABLE = 15
NOT_COORDINATOR = 16
NOT_ENOUGH_REPLICAS = 19
NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20
TOPIC_AUTHORIZATION_FAILED = 29
OUT_OF_ORDER = 45
DUPLICATE = 46
INVALID_EPOCH = 47
INVALID_TXN_STATE = 48
INVALID_ID_MAPPING = 49
CONCURRENT_TRANSACTIONS = 51
OPERATION_NOT_ATTEMPTED = 55
INVALID_RECORD = 87

#: After this an unused transactional id may be forgotten, in seconds: a week, in a world in which
#: nobody is frozen for longer than this.
IDLE_SECONDS = 15.0
#: Batches of a producer that a partition knows again.
_KNOWN_BATCHES = 5


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
    #: When it was appended in the world's time, in unix seconds, which nobody in it knows.
    true: float = 0.0


@dataclass(eq=False, slots=True)
class Transaction:
    """What one producer appends together."""

    owner: str
    number: int
    #: Partitions it may append to, those it has appended to, and the records in them.
    added: set[TP] = field(default_factory=set)
    parts: dict[TP, list[Record]] = field(default_factory=dict)
    #: None until it is decided.
    committed: bool | None = None
    #: Partitions whose marker is still to be written.
    unmarked: int = 0


class Batch(NamedTuple):
    """Records with a producer's numbers, as they go over the wire."""

    producer_id: int
    epoch: int
    sequence: int
    records: list[Content]

    @property
    def last(self) -> int:
        """The number of its last record."""
        return self.sequence + len(self.records) - 1


class Answer(NamedTuple):
    """What a leader says of one batch."""

    error: int
    offset: int = -1
    timestamp: int = -1


class Numbers:
    """What a partition knows of one producer id: its epoch, and its last batches."""

    def __init__(self) -> None:
        self.epoch = -1
        self._batches: deque[tuple[int, int, Answer]] = deque(maxlen=_KNOWN_BATCHES)

    def judge(self, batch: Batch) -> Answer | None:
        """Return what a batch is answered with that is not to be appended; None where it is."""
        if batch.epoch < self.epoch:
            return Answer(INVALID_EPOCH)
        if batch.epoch == self.epoch:
            for first, last, answer in self._batches:
                if (first, last) == (batch.sequence, batch.last):
                    return answer
        expected = self._batches[-1][1] + 1 if self._batches and batch.epoch == self.epoch else 0
        if self.epoch >= 0 and batch.sequence != expected:
            return Answer(OUT_OF_ORDER)
        return None

    def appended(self, batch: Batch, answer: Answer) -> None:
        """Note a batch that was appended."""
        self.marked(batch.epoch)
        self._batches.append((batch.sequence, batch.last, answer))

    def marked(self, epoch: int) -> None:
        """Note the epoch of a marker: what older ones have sent is not known any more."""
        if epoch > self.epoch:
            self.epoch = epoch
            self._batches.clear()


@dataclass(slots=True)
class ProducerId:
    """A transactional id: who may use it, and its transaction."""

    number: int
    epoch: int = -1
    #: Whom the newest id and epoch were given to when it asked for another one, and since when
    #: nobody else has asked.
    previous: tuple[int, int] | None = None
    transaction: Transaction | None = None
    #: How the last transaction ended.
    last: bool | None = None
    #: When it was taken from who had an id and an epoch, in unix seconds: the first time.
    lost: dict[tuple[int, int], float] = field(default_factory=dict)
    #: When it was used last, in unix seconds.
    used: float = 0.0

    def is_idle(self, now: float) -> bool:
        """Whether it has not been used for longer than any process sleeps."""
        return self.transaction is None and now - self.used > IDLE_SECONDS

    def fence(self, now: float) -> None:
        """Let nobody commit who is there by now."""
        self._take((self.number, self.epoch), now)
        self._take(self.previous, now)
        self.epoch += 1
        self.previous = None

    def renew(self, number: int, epoch: int, now: float) -> int:
        """Give whoever has this id and epoch a new one; return an error."""
        if self.epoch < 0 or (number, epoch) == (self.number, self.epoch):
            if self.epoch < 0 and self.previous != (number, epoch):
                self._take(self.previous, now)
            self.previous = number, epoch
            self.epoch += 1
            return NONE
        return NONE if (number, epoch) == self.previous else INVALID_EPOCH

    def follow(self, forgotten: "ProducerId") -> None:
        """Be there in the place of one that was forgotten, which somebody may still have."""
        self.lost = forgotten.lost
        self.previous = forgotten.number, forgotten.epoch

    def _take(self, holder: tuple[int, int] | None, now: float) -> None:
        if holder is not None:
            self.lost.setdefault(holder, now)

    def judge(self, number: int, epoch: int) -> int:
        """Return the error of a request of this id and epoch."""
        if number != self.number:
            return INVALID_ID_MAPPING
        return NONE if epoch == self.epoch else INVALID_EPOCH

    def is_held_by(self, number: int, epoch: int) -> bool:
        """Whether nobody has taken the transactional id from who has this id and epoch."""
        return (number, epoch) in ((self.number, self.epoch), self.previous)
