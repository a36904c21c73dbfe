"""From a Kafka client's records to ours."""

from typing import Any

from fleet.records.log import Delivered


def delivered(record: Any) -> Delivered:
    """Return an aiokafka record as ours."""
    return Delivered(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        appended_ms=record.timestamp,
        key=record.key,
        value=record.value,
        headers=list(record.headers),
    )
