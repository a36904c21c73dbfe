"""Header names that Python's clients do not write, and others do."""

from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy


class Bytes(str):
    """A header name of these very bytes."""

    __slots__ = ("_raw",)
    _raw: bytes

    def __new__(cls, raw: bytes) -> Self:
        made = super().__new__(cls, raw.decode(errors="replace"))
        made._raw = raw
        return made

    def encode(self, *_: Any) -> bytes:
        """Return the bytes."""
        return self._raw


async def send(
    producer: AIOKafkaProducer, topic: str, partition: int, key: bytes, value: bytes, headers: Any
) -> None:
    """Append a record whose header names may be `Bytes`."""
    batch: Any = producer.create_batch()
    batch._builder = _DefaultRecordBatchBuilderPy(2, 0, False, -1, -1, 0, 1 << 20)
    assert batch.append(key=key, value=value, timestamp=None, headers=headers) is not None
    await (await producer.send_batch(batch, topic, partition=partition))
