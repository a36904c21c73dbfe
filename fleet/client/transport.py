"""The port through which a caller reaches the log: on a broker, or in this process."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from fleet.records.log import Delivered, Outgoing, Page
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

    def stream_position(self, run_id: str) -> int:
        """Return the offset of `stream` from which the run's records are handed on."""
        ...

    async def stream_since(self, run_id: str, since_ms: int) -> int:
        """Return the first offset of the run's partition of `stream` since a time.

        Tries until it is cancelled.
        """
        ...

    async def read_stream(self, run_id: str, first: int, end: int) -> Page:
        """Return the run's records of `stream` from offset *first* up to *end*, without *end*.

        Tries until it is cancelled; raises WorkflowRuntimeError if it was disconnected.
        """
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
