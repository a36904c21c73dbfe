"""
The requests of transactions below aiokafka's client: the real producer makes them.

As much of an `AIOKafkaProducer` as `fleet.kafka.transactional_producer` uses, over the simulated
broker. Batches are not built into bytes; everything else is as it would be sent.
"""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest
from faust.types import TP

from fleet.kafka.producer_identity import RenewProducerIdRequest
from simulation.broker import NOBODY
from simulation.connection import Connection
from simulation.plan import HEALED
from simulation.producers import (
    CONCURRENT_TRANSACTIONS,
    COORDINATOR_LOADING,
    COORDINATOR_NOT_AVAILABLE,
    NONE,
    NOT_COORDINATOR,
    NOT_ENOUGH_REPLICAS,
    NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    NOT_LEADER,
    OPERATION_NOT_ATTEMPTED,
    REQUEST_TIMED_OUT,
    TOPIC_AUTHORIZATION_FAILED,
    UNKNOWN_SERVER_ERROR,
    Answer,
    Batch,
    Content,
)
from simulation.world import BEGINNING

#: Largest batch, in records: small, so that a topic's part of a transaction may take several.
BATCH_RECORDS = 3
#: As aiokafka's producer waits before it asks again, in seconds.
RETRY_SECONDS = 0.1

#: What a leader says that has not appended, and what one says that may have.
_NOT_APPENDED = (NOT_LEADER, NOT_ENOUGH_REPLICAS, UNKNOWN_SERVER_ERROR)
_APPENDED = (
    NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    REQUEST_TIMED_OUT,
    NOT_LEADER,
    UNKNOWN_SERVER_ERROR,
    UNKNOWN_SERVER_ERROR,
)
_AWAY = (COORDINATOR_LOADING, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, CONCURRENT_TRANSACTIONS)


class BatchBuilder:
    """See aiokafka's of that name."""

    def __init__(self) -> None:
        self._records: list[Content] = []
        self._numbers = -1, -1, 0

    def append(
        self,
        *,
        key: bytes | None,
        value: bytes | None,
        timestamp: int | None,
        headers: list[tuple[str, bytes]],
    ) -> object | None:
        """Add a record where it fits."""
        del timestamp
        if len(self._records) == BATCH_RECORDS:
            return None
        self._records.append((key, value, list(headers)))
        return self

    def record_count(self) -> int:
        """Return how many records it has."""
        return len(self._records)

    def _set_producer_state(self, producer_id: int, epoch: int, sequence: int) -> None:
        self._numbers = producer_id, epoch, sequence

    def _build(self) -> Batch:
        return Batch(*self._numbers, self._records)


#: No topic of any history has more.
MOST_PARTITIONS = 8


class WireProducer:
    """See AIOKafkaProducer, one with a transactional id."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.connection = connection
        #: The transactional id.
        self.name = name
        #: When it was taken, in unix seconds.
        self.started = 0.0
        self._world = connection.world
        self._broker = connection.broker
        self._leaders: dict[TP, int] = {}
        self._coordinator: int | None = None
        self._txn_manager = SimpleNamespace(
            transactional_id=name, producer_id=-1, producer_epoch=-1, transaction_timeout_ms=10_000
        )
        # What aiokafka's producer has under these names.
        self.client = self.cluster = self._sender = self

    async def start(self) -> None:
        """Connect, and take the transactional id; as aiokafka's sender does."""
        await self.connection.read("connect")
        while True:
            error, number, epoch = await self._initialise()
            if error == NONE:
                break
            if error not in _AWAY:
                raise for_code(error)
            await asyncio.sleep(0.002 if error == CONCURRENT_TRANSACTIONS else RETRY_SECONDS)
        manager = self._txn_manager
        manager.producer_id, manager.producer_epoch = number, epoch
        self.started = self._world.now

    async def _initialise(self) -> tuple[int, int, int]:
        node = await self._find_coordinator(1, self.name)
        try:
            answer: tuple[int, int, int] = await self._asked_coordinator(
                "init",
                lambda: self._broker.initialise(node, self.name),
                (COORDINATOR_LOADING, 0, 0),
            )
        except (KafkaError, OSError):
            answer = COORDINATOR_NOT_AVAILABLE, 0, 0
        if answer[0] in (COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR):
            self._coordinator_dead(1)
        return answer

    async def stop(self) -> None:
        """Disconnect."""
        await self.connection.read("stop")
        await asyncio.sleep(0)

    def create_batch(self) -> BatchBuilder:
        """Return an empty batch."""
        return BatchBuilder()

    # -- where things are -----------------------------------------------------------------------

    async def partitions_for(self, topic: str) -> None:
        """Look a topic up."""
        await self.connection.ask("metadata", lambda: self._look_up(topic))

    async def force_metadata_update(self) -> None:
        """Look all topics up again that are known."""
        topics = {tp.topic for tp in self._leaders}
        await self.connection.ask("metadata", lambda: self._look_up(*topics))

    def _look_up(self, *topics: str) -> None:
        for topic in topics:
            for partition in range(MOST_PARTITIONS):
                tp = TP(topic, partition)
                self._leaders[tp] = self._broker.leader(tp)

    def leader_for_partition(self, tp: tuple[str, int]) -> int | None:
        """Return the node that led a partition when it was looked up."""
        return self._leaders.get(TP(*tp))

    async def _find_coordinator(self, kind: int, key: str) -> int:
        assert (kind, key) == (1, self.name)
        while self._coordinator is None:
            found = await self.connection.ask("find", lambda: self._broker.coordinator(self.name))
            if found == NOBODY:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._coordinator = found
        return self._coordinator

    def _coordinator_dead(self, kind: int) -> None:
        assert kind == 1
        self._coordinator = None

    # -- requests -------------------------------------------------------------------------------

    async def send(self, node: int, request: Any) -> Any:
        """Make a request; return its response, or raise what a connection does that breaks."""
        match request:
            case AddPartitionsToTxnRequest():
                return SimpleNamespace(errors=await self._add(node, request))
            case ProduceRequest():
                return SimpleNamespace(topics=await self._produce(node, request))
            case EndTxnRequest():
                return SimpleNamespace(error_code=await self._end(node, request))
            case RenewProducerIdRequest():
                return await self._renew(node, request)
            case _:
                raise AssertionError(request)

    async def _add(self, node: int, request: Any) -> list[Any]:
        tps = [TP(topic, each) for topic, several in request._topics for each in several]
        who = request._transactional_id, request._producer_id, request._producer_epoch

        def add() -> dict[TP, int]:
            refused = [tp for tp in tps if self._broker.refuses(tp, []) != NONE]
            if refused:
                return {
                    tp: TOPIC_AUTHORIZATION_FAILED if tp in refused else OPERATION_NOT_ATTEMPTED
                    for tp in tps
                }
            return dict.fromkeys(tps, self._broker.add(node, *who, tps))

        away = dict.fromkeys(tps, COORDINATOR_LOADING)
        errors = await self._asked_coordinator("add", add, away)
        return [(tp.topic, [(tp.partition, error)]) for tp, error in errors.items()]

    async def _produce(self, node: int, request: Any) -> list[Any]:
        batches = {
            TP(topic, partition): batch
            for topic, several in request._topics
            for partition, batch in several
        }

        def produce() -> dict[TP, Answer]:
            return {tp: self._appended(node, tp, batch) for tp, batch in batches.items()}

        answers: dict[TP, Answer] = await self.connection.send("produce", produce)
        return [(tp.topic, [(tp.partition, *answer, 0)]) for tp, answer in answers.items()]

    def _appended(self, node: int, tp: TP, batch: Batch) -> Answer:
        """Append a batch; it may be that the broker fails before or after it has."""
        random = self._world.random
        fails = self._is_faulty()
        if fails and random.random() < 0.5:
            return Answer(random.choice(_NOT_APPENDED))
        answer = self._broker.append(node, tp, self.name, batch)
        return Answer(random.choice(_APPENDED)) if fails and answer.error == NONE else answer

    async def _end(self, node: int, request: Any) -> int:
        who = request._transactional_id, request._producer_id, request._producer_epoch
        commit = request._transaction_result
        error: int = await self._asked_coordinator(
            "end", lambda: self._broker.end(node, *who, commit=commit), COORDINATOR_LOADING
        )
        return error

    async def _renew(self, node: int, request: RenewProducerIdRequest) -> Any:
        name, *holder = request.identity
        error, number, epoch = await self._asked_coordinator(
            "renew",
            lambda: self._broker.initialise(node, name, (holder[0], holder[1])),
            (COORDINATOR_LOADING, -1, -1),
        )
        return SimpleNamespace(error_code=error, producer_id=number, producer_epoch=epoch)

    async def _asked_coordinator(self, name: str, request: Callable[[], Any], loading: Any) -> Any:
        """Ask the coordinator, which may be loading."""
        return await self.connection.send(name, lambda: loading if self._is_faulty() else request())

    def _is_faulty(self) -> bool:
        """Whether a node fails at this request: as often as connections break."""
        breaks, now = self.connection.breaks, self._world.now
        return now < BEGINNING + HEALED and self._world.random.random() < breaks
