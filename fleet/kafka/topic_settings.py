"""
How a workflow's topics are configured: how long records are kept, and how the state is compacted.

Fleet sets everything that it relies on when it creates a topic. It does not leave that to the
broker's defaults, which its operator may change.
"""

#: A deleted key stays in the state topic at least this long, in milliseconds: twice the age up to
#: which a local copy is reused, see `fleet.kafka.loading.STALE_SECONDS`.
LEAST_TOMBSTONE_MS = 86_400_000

#: The state topic. Kafka compacts closed segments only, and a load reads the whole log. So segments
#: are small and closed within a day, and compacted when a fifth of the log is new (Kafka's own
#: values: 1 GiB, a week, a half). A log with few writes is compacted after a day, so that deleted
#: keys leave the disk.
COMPACTED = (
    ("cleanup.policy", "compact"),
    ("delete.retention.ms", str(LEAST_TOMBSTONE_MS)),
    ("message.timestamp.type", "LogAppendTime"),
    ("segment.bytes", str(64 * 1024 * 1024)),
    ("segment.ms", str(86_400_000)),
    ("min.cleanable.dirty.ratio", "0.2"),
    ("max.compaction.lag.ms", str(86_400_000)),
)
#: Settings in which an existing topic must be as planned.
FIXED = (
    ("message.timestamp.type", "LogAppendTime"),
    ("cleanup.policy", "compact"),
    ("cleanup.policy", "delete"),
)


def kept(retention_ms: str) -> tuple[tuple[str, str], ...]:
    """Return the configuration of a topic that keeps every record for *retention_ms*."""
    return (
        # Not the broker's defaults: compaction would keep one event of each run, and a bound on
        # bytes would remove unread records.
        ("cleanup.policy", "delete"),
        ("retention.ms", retention_ms),
        ("retention.bytes", "-1"),
        ("message.timestamp.type", "LogAppendTime"),
    )
