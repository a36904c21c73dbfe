"""
aiokafka's idempotent producer over the simulated broker.

Records of a partition arrive in their order, a batch after the other. A batch that fails for good
leaves a gap in the sequence: no later one of that partition is taken from this producer.
"""

import asyncio
from collections import defaultdict, deque
from typing import Any

from aiokafka.errors import OutOfOrderSequenceNumber
from faust.types import TP

from simulation.connection import Connection
from simulation.producers import Content

#: Largest batch, in records.
BATCH_RECORDS = 3

_Waiting = tuple[Content, "asyncio.Future[None]"]


class IdempotentProducer:
    """See AIOKafkaProducer, one without transactions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: dict[TP, deque[_Waiting]] = defaultdict(deque)
        self._sending: dict[TP, asyncio.Task[None]] = {}
        #: Partitions whose sequence has a gap.
        self._holes: set[TP] = set()

    async def start(self) -> None:
        """Connect."""
        await self._connection.trouble("connect")

    async def stop(self) -> None:
        """Disconnect when all is sent."""
        await asyncio.gather(*self._sending.values())

    async def send(
        self,
        topic: str,
        *,
        key: bytes,
        value: bytes | None,
        headers: list[tuple[str, bytes]],
        partition: int,
    ) -> "asyncio.Future[Any]":
        """Put a record into a batch; the future tells when it was appended."""
        await self._connection.trouble("hand over")
        tp, answer = TP(topic, partition), asyncio.get_running_loop().create_future()
        self._waiting[tp].append(((key, value, list(headers)), answer))
        if tp not in self._sending:
            sending = asyncio.get_running_loop().create_task(self._send_all(tp))
            self._sending[tp] = sending
        return answer

    async def _send_all(self, tp: TP) -> None:
        waiting = self._waiting[tp]
        while waiting:
            batch = [waiting.popleft() for _ in range(min(len(waiting), BATCH_RECORDS))]
            failure = await self._send(tp, [content for content, _ in batch])
            for _, answer in batch:
                if failure is not None and not answer.done():
                    answer.set_exception(failure)
                elif not answer.done():
                    answer.set_result(None)
        del self._sending[tp]

    async def _send(self, tp: TP, records: list[Content]) -> Exception | None:
        connection = self._connection
        fails = tp in self._holes or connection.fails("send")
        if not fails or (tp not in self._holes and connection.is_met()):
            await connection.ask("send", lambda: connection.broker.produce(tp, records))
        if fails:
            self._holes.add(tp)
            return OutOfOrderSequenceNumber()
        return None
