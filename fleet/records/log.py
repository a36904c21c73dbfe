"""Records that come from a log and records that go to one, on Kafka and in memory."""

from typing import NamedTuple

from fleet.records.envelope import Headers


class Delivered(NamedTuple):
    """A record that was read from a partition of *topic*."""

    topic: str
    partition: int
    offset: int
    #: The broker's append time, in unix milliseconds.
    appended_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Outgoing(NamedTuple):
    """A record to be appended."""

    topic: str
    key: bytes
    #: None is a tombstone.
    value: bytes | None
    headers: Headers
    #: None: the one that the task owns, or that of the run which a caller sends to.
    partition: int | None = None


class Page(NamedTuple):
    """A stretch of a partition that was read again."""

    records: list[Delivered]
    #: First offset that the log still had afterwards.
    begin: int
