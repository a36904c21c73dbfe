r"""
Records whose header names are not UTF-8 are read like all others.

aiokafka decodes the names strictly and raises for the whole batch, at every fetch: one such record
would stop its partition for ever. Kafka itself takes any bytes. So we parse such a batch again,
with a slower parser that shows the bytes as `\xff`.

aiokafka has no setting for another parser: `install` puts ours in for all consumers of the process.
"""

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.default_records import _DefaultRecordBatchPy, _DefaultRecordPy
from aiokafka.record.legacy_records import LegacyRecordBatch
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy
from aiokafka.record.util import decode_varint

from fleet.config import logs

_log = logs.get_logger("header_names")

#: The first version of Kafka's batches in which records have headers.
_WITH_HEADERS = 2


def install() -> None:
    """Make every consumer of this process read such records."""
    module: Any = fetcher
    module.MemoryRecords = KeptRecords
    module.PartitionRecords = ReadRecords


class KeptRecords(MemoryRecords):  # type: ignore[misc,valid-type]
    """The fetched records of one partition, with their bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class ReadRecords(PartitionRecords):
    """The records of one partition; parses those again that aiokafka cannot."""

    def __init__(self, tp: Any, records: KeptRecords, aborted: Any, *rest: Any) -> None:
        super().__init__(tp, records, aborted, *rest)  # type: ignore[no-untyped-call]
        self._data = records.data
        #: A copy: aiokafka uses its own list up.
        self._aborted = list(self._aborted_transactions)

    def _unpack_records(self) -> Iterator[Any]:
        try:
            yield from super()._unpack_records()  # type: ignore[no-untyped-call]
        except UnicodeDecodeError:
            _log.warning(
                "header_name_not_utf8",
                topic=self._tp.topic,
                partition=self._tp.partition,
                offset=self.next_fetch_offset,
            )
            since = self.next_fetch_offset
            # From the beginning: aborts of earlier records count, too.
            self._records = _LenientRecords(self._data)
            self._aborted_transactions = list(self._aborted)
            self._aborted_producers.clear()
            again = super()._unpack_records()  # type: ignore[no-untyped-call]
            yield from (record for record in again if record.offset >= since)


class _LenientRecords(_MemoryRecordsPy):  # type: ignore[misc]
    def next_batch(self, *_: Any) -> Any:
        found = self._next_slice
        if found is None:
            return None
        self._cache_next()
        magic = found[self.MAGIC_OFFSET]
        return _LenientBatch(found) if magic >= _WITH_HEADERS else LegacyRecordBatch(found, magic)


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    """Kafka's record format, version 2: https://kafka.apache.org/documentation/#record."""

    def _read_msg(self, *_: Any) -> _DefaultRecordPy:
        # The broker has checked the record: its lengths and counts are right.
        length, start = decode_varint(self._buffer, self._pos)
        self._pos = start + 1  # attributes: none are in use
        since, offset = self._number(), self._number()
        key, value = self._bytes(), self._bytes()
        headers = [self._header() for _ in range(self._number())]
        self._pos = start + length
        by_broker = self.timestamp_type == self.LOG_APPEND_TIME
        timestamp = self.max_timestamp if by_broker else self.first_timestamp + since
        return _DefaultRecordPy(
            self.base_offset + offset, timestamp, self.timestamp_type, key, value, headers
        )

    def _number(self) -> int:
        number, self._pos = decode_varint(self._buffer, self._pos)
        return number

    def _bytes(self) -> bytes | None:
        length = self._number()
        if length < 0:
            return None
        begin, self._pos = self._pos, self._pos + length
        return bytes(self._buffer[begin : self._pos])

    def _header(self) -> tuple[str, bytes | None]:
        name = self._bytes() or b""
        return name.decode(errors="backslashreplace"), self._bytes()
