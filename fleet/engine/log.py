"""
What a task appends to: one transaction at a time, all or nothing.

Kafka, the in-process log and a simulated one stand behind the same two methods.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fleet.records.errors import FleetError
from fleet.records.log import Outgoing


class TaskLost(FleetError):
    """Raised when a task may not or cannot commit any more; another may own its partition.

    What to do: Nothing: the steps run again where the partition is now.
    """

    def __init__(self, task: str, reason: str) -> None:
        super().__init__(
            f"task {task} is lost ({reason}); its steps run again where the partition is now"
        )


class RecordsRefused(FleetError):
    """Raised when the broker refuses records of a commit for a reason that stays.

    A record is too large, or invalid, or its topic is not authorised. Nothing of the commit is
    visible, and the log can be used again: commit what is left without these records.

    What to do: Nothing: the worker commits the rest, and the steps whose records were refused fail
    with `ResultRefused`.
    """

    def __init__(self, refused: Sequence[tuple[Outgoing, Exception]]) -> None:
        #: Each refused record, the same object that was to be committed, with the broker's reason.
        #: A change of the state is an `Outgoing` of the state topic.
        self.refused = list(refused)
        reasons = sorted({f"{record.topic}: {reason!r}" for record, reason in refused})
        super().__init__(
            f"the broker refuses {len(self.refused)} records ({'; '.join(reasons)}); commit the "
            "others without them"
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the log says about a commit."""

    #: The append time of the changes, in unix milliseconds; 0 if it is not known.
    appended_ms: int
    #: The changelog's offset after the last change.
    state_offset: int
    #: The append time by topic, where it is known.
    times: Mapping[str, int] = field(default_factory=dict)


class Log(Protocol):
    """Appends to one partition number of a workflow's topics."""

    async def commit(
        self, records: Sequence[Outgoing], changes: Mapping[bytes, bytes | None]
    ) -> Receipt:
        """Append *records* and, to the changelog, *changes*, in one transaction.

        Tries again what can be tried again. Raises TaskLost when the outcome is or may be that
        another worker owns the partition; nothing may be committed through this log afterwards.
        """
        ...

    async def close(self) -> None:
        """Release what the log holds."""
        ...
