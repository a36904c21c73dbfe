"""The port through which a caller reaches the log: on a broker, or in this process."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from fleet.records.log import Delivered, Outgoing
from fleet.records.run_entries import RunEntries
from fleet.workflow.graph import Graph


class Transport(Protocol):
    """How a caller reaches the log."""

    async def follow(self, run_id: str) -> None:
        """Read the run's partition of `runs` and `stream` from here on.

        Tries until it is cancelled.
        """
        ...

    def followed_from(self, run_id: str) -> int:
        """Return the offset of `runs` from which its partition has been read without a gap."""
        ...

    async def send(self, record: Outgoing, *, repeatable: bool) -> None:
        """Append one record; return when the log has acknowledged it.

        Tries until it is cancelled. *repeatable*: readers would recognise a second copy.
        """
        ...

    async def look_back(self, run_id: str, offset: int) -> list[Delivered]:
        """Return the run's records of `runs` from *offset* up to what was read by now."""
        ...

    async def read_run(self, run_id: str) -> RunEntries:
        """Return what is committed of a run in its group's state; raise ContextUnreadable."""
        ...

    async def running_steps(self, run_id: str, graph: Graph) -> list[str]:
        """Return the names of a run's steps that run now, or wait to; raise ContextUnreadable."""
        ...

    def when_stream_read(self, run_id: str, done: Callable[[], None], *, soon: bool) -> None:
        """Call *done* when everything that the run's partition of `stream` has now was read.

        Not *soon*: no reader waits for it, so several runs may be looked at together.
        """
        ...

    def unfollow(self, run_id: str) -> None:
        """Stop reading for the run."""
        ...

    @property
    def workers(self) -> Callable[[str], Awaitable[int]] | None:
        """Returns how many workers a step group has; None if the worker is this process.

        Raises KafkaError.
        """
        ...
