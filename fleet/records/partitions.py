"""The partition of a run: the same number in every topic of its workflow."""

from functools import lru_cache

from aiokafka.partitioner import DefaultPartitioner

from fleet.records.envelope import Envelope
from fleet.records.lifecycle import Completed, Failed, Known, Started, TimedOut
from fleet.records.log import Delivered


def hashed(run_id: str, partitions: int) -> int:
    """Return the partition of a run's records: Kafka's default hash (murmur2) of its id."""
    every = list(range(partitions))
    chosen: int = DefaultPartitioner()(run_id.encode(), every, every)
    return chosen


# Several callers need a run's partition, and the hash is written in Python.
partition_of = lru_cache(maxsize=50_000)(hashed)


def misplaced(record: Delivered, envelope: Envelope, partitions: int) -> str:
    """Say why *record* is none of the run that its headers name; empty if it is.

    A client with another hash (librdkafka's default is CRC32) puts records into a partition that is
    not their run's. A start would begin a second run of the same id there, unseen by its caller.
    """
    if record.key != envelope.run_id.encode():
        return "the record's key is not its run id"
    # The hash costs microseconds. A task of Fleet writes to its own partition alone.
    if partitions <= 1 or not _is_from_outside(envelope):
        return ""
    own = hashed(envelope.run_id, partitions)
    if own == record.partition:
        return ""
    return (
        f"the record is in partition {record.partition}, and its run in partition {own} by Kafka's "
        "default hash of the key: set the producer's partitioner to murmur2 (`partitioner="
        "murmur2_random` in librdkafka)"
    )


def _is_from_outside(envelope: Envelope) -> bool:
    return not envelope.parent_id and envelope.type not in _WRITTEN_BY_TASKS


_WRITTEN_BY_TASKS = frozenset(
    record.kind for record in (Started, Known, Completed, Failed, TimedOut)
)
