"""Header names that are not UTF-8: their record is read, and so are its neighbours."""

from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from raw_names import Bytes

from fleet.kafka import clients, header_names

TP = TopicPartition("t", 0)
BAD = Bytes(b"\xff\xfe")


def _batch(offset: int, *headers: Any, producer: int = -1, compression: int = 0) -> bytes:
    """One batch with a record for each of *headers*, the first at *offset*."""
    builder = _DefaultRecordBatchBuilderPy(2, compression, producer >= 0, producer, 0, 0, 1 << 20)
    for number, each in enumerate(headers):
        key = b"key" if number % 2 else None
        builder.append(number, 1_000 + number, key, b"value %d" % number, list(each))
    built = bytearray(builder.build())
    # The base offset is the broker's, and no part of the checksum.
    built[:8] = offset.to_bytes(8, "big")
    return bytes(built)


def _read(data: bytes, aborted: Any = (), since: int = 0) -> Iterator[Any]:
    records = header_names.KeptRecords(data)
    return header_names.ReadRecords(
        TP, records, list(aborted), since, None, None, True, READ_COMMITTED
    )


@pytest.mark.parametrize("compression", [0, 1], ids=["plain", "gzip"])
def test_the_record_and_its_neighbours_are_read(compression: int) -> None:
    """Nothing is skipped and nothing comes twice; the name shows its bytes."""
    data = _batch(0, (), [("fine", b"1")]) + _batch(
        2, [("é", None)], [(BAD, b"x"), ("after", b"y")], (), compression=compression
    )
    found = list(_read(data))
    assert [each.offset for each in found] == [0, 1, 2, 3, 4]
    assert [each.headers for each in found] == [
        (),
        (("fine", b"1"),),
        (("é", None),),
        (("\\xff\\xfe", b"x"), ("after", b"y")),
        (),
    ]
    assert [each.value for each in found[2:]] == [b"value 0", b"value 1", b"value 2"]
    assert [each.key for each in found[2:]] == [None, b"key", None]
    assert [each.timestamp for each in found[2:]] == [1_000, 1_001, 1_002]


def test_what_was_read_before_is_not_read_again() -> None:
    """A fetch begins with the batch of its offset, not with the offset."""
    data = _batch(0, (), [(BAD, b"")], ())
    assert [each.offset for each in _read(data, since=2)] == [2]


def test_aborted_records_stay_hidden() -> None:
    """Also those of a producer that was aborted before and has a transaction after it."""
    data = (
        _batch(0, (), producer=7) + _batch(1, [(BAD, b"")], producer=8) + _batch(2, (), producer=7)
    )
    assert [each.offset for each in _read(data, aborted=[(7, 0)])] == [1]


def test_every_consumer_of_this_process_reads_so() -> None:
    """Faust's, callers' and tools' are aiokafka's."""
    assert clients
    module: Any = fetcher
    assert module.PartitionRecords is header_names.ReadRecords
    assert module.MemoryRecords is header_names.KeptRecords
