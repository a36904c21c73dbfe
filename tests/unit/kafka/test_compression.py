"""What compresses the records that we write."""

import pytest
from aiokafka.record import MemoryRecords
from pydantic import ValidationError

from fleet.config.settings import Settings
from fleet.kafka.clients import Clients

#: Kafka's numbers of the codecs, in the attributes of a batch.
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
_ATTRIBUTES = slice(21, 23)
_CODEC_BITS = 0b111


@pytest.mark.parametrize(("name", "number"), CODECS.items())
async def test_a_batch_is_compressed_as_the_setting_says(name: str, number: int) -> None:
    """Also one of a transaction; and what was compressed can be read here."""
    producer = Clients(Settings.model_validate({"compression": name})).transactional_producer(
        transactional_id="task"
    )
    value = b"a joke about pirates, " * 100
    try:
        batch = producer.create_batch()
        batch.append(key=b"run", value=value, timestamp=None, headers=[])
        built = bytes(batch._build())
    finally:
        await producer.stop()

    assert int.from_bytes(built[_ATTRIBUTES], "big") & _CODEC_BITS == number
    read = MemoryRecords(built).next_batch()
    assert read is not None
    assert [record.value for record in read] == [value]


def test_a_codec_that_kafka_does_not_know_is_refused() -> None:
    with pytest.raises(ValidationError, match="compression"):
        Settings.model_validate({"compression": "brotli"})
