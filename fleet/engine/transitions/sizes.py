"""
How large records may be: measured whole, before anything of a decision is in a draft.

What the broker refuses stops a partition, because a transaction holds the results of many steps.
So a record is measured as the broker does: key, value, headers, and what a batch adds.
"""

from collections.abc import Iterable, Mapping

from fleet.records import limits
from fleet.records.log import Outgoing
from fleet.workflow.errors import WorkflowRuntimeError

#: Largest value of a record, in bytes.
MAX_VALUE_BYTES = limits.VALUE_BYTES
#: Largest record, in bytes, with its key and headers.
MAX_RECORD_BYTES = 1_040_000
#: All that one attempt sends and keeps, in bytes. It is one transaction, and that has to be through
#: before the broker gives up on it (`fleet.kafka.transactional_log.TRANSACTION_TIMEOUT_MS`).
MAX_RESULT_BYTES = 32 * 1024 * 1024
#: What a batch adds to a record, and a record to each of its headers, at most.
_RECORD_OVERHEAD = 80
_HEADER_OVERHEAD = 8


class RecordTooLarge(WorkflowRuntimeError):
    """Raised when a step sends or keeps more than one record, or one commit, holds.

    What to do: Keep large data in a file store or a database, and send where it is. A list of
    very many events can be a list of lists.
    """

    def __init__(self, what: str, size: int, limit: int = MAX_VALUE_BYTES) -> None:
        whole = limit == MAX_RESULT_BYTES
        holder = "a step's result" if whole else "a record"
        way = ", and let a fan-out of very many events be a list of lists" if whole else ""
        super().__init__(
            f"{what} has {size:,} bytes, and {holder} holds {limit:,}; "
            f"keep large data elsewhere and send where it is{way}"
        )


def size(record: Outgoing) -> int:
    """Return the bytes that a record takes in a batch, at most."""
    headers = sum(
        len(name.encode()) + len(value or b"") + _HEADER_OVERHEAD for name, value in record.headers
    )
    return len(record.key) + len(record.value or b"") + headers + _RECORD_OVERHEAD


def checked(record: Outgoing, what: str = "") -> Outgoing:
    """Return the record; raise RecordTooLarge if it, or its value, is too large."""
    value = len(record.value or b"")
    if value > MAX_VALUE_BYTES:
        raise RecordTooLarge(what or _told(record), value)
    whole = size(record)
    if whole > MAX_RECORD_BYTES:
        raise RecordTooLarge(f"{what or _told(record)}, with its key and headers,", whole)
    return record


def fits(record: Outgoing) -> bool:
    """Tell whether a record is not too large."""
    return len(record.value or b"") <= MAX_VALUE_BYTES and size(record) <= MAX_RECORD_BYTES


def check_changes(what: str, changes: Mapping[bytes, bytes | None]) -> int:
    """Return the size of changes of the state; raise RecordTooLarge if one is too large."""
    total = 0
    for key, value in changes.items():
        length = len(value or b"")
        if length > MAX_VALUE_BYTES:
            raise RecordTooLarge(what, length)
        total += len(key) + length + _RECORD_OVERHEAD
    return total


def check_result(what: str, records: Iterable[Outgoing], changes_size: int) -> None:
    """Raise RecordTooLarge if one attempt sends and keeps more than one commit holds."""
    total = changes_size + sum(map(size, records))
    if total > MAX_RESULT_BYTES:
        raise RecordTooLarge(what, total, MAX_RESULT_BYTES)


def _told(record: Outgoing) -> str:
    return dict(record.headers).get("fleet-type", b"a record").decode(errors="replace")
