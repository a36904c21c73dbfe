"""
How a workflow's topics are configured: what is kept for how long, and how the state is compacted.

Everything that Fleet relies on is said when a topic is created and not left to the broker's
defaults, which are the operator's to change.
"""

#: How long a deleted key stays in the state topic at least, in milliseconds: twice the age up to
#: which a local copy is reused, see `fleet.kafka.loading.STALE_SECONDS`.
LEAST_TOMBSTONE_MS = 86_400_000

#: The state topic. Kafka compacts closed segments only, and a load reads everything that is there:
#: so segments are small and closed within a day, and are compacted when a fifth of the log is new
#: (Kafka's own values: 1 GiB, a week, a half). Where little is written it is compacted after a day
#: all the same, so that what was deleted leaves the disk.
COMPACTED = (
    ("cleanup.policy", "compact"),
    ("delete.retention.ms", str(LEAST_TOMBSTONE_MS)),
    ("message.timestamp.type", "LogAppendTime"),
    ("segment.bytes", str(64 * 1024 * 1024)),
    ("segment.ms", str(86_400_000)),
    ("min.cleanable.dirty.ratio", "0.2"),
    ("max.compaction.lag.ms", str(86_400_000)),
)
#: What a topic that is there must have as it was planned.
FIXED = (
    ("message.timestamp.type", "LogAppendTime"),
    ("cleanup.policy", "compact"),
    ("cleanup.policy", "delete"),
)


def kept(retention_ms: str) -> tuple[tuple[str, str], ...]:
    """Return the configuration of a topic that keeps every record for this long."""
    return (
        # Said, and not left to the broker's defaults: compaction would keep one event of each run,
        # and a bound on bytes would remove unread records.
        ("cleanup.policy", "delete"),
        ("retention.ms", retention_ms),
        ("retention.bytes", "-1"),
        ("message.timestamp.type", "LogAppendTime"),
    )
