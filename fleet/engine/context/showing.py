"""
What an attempt shows while its step runs: numbered in order, acknowledged before its result.

A step may show a million tokens, so what is acknowledged is kept no more.
"""

import asyncio
import secrets
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Protocol

from fleet.records.events import Event

if TYPE_CHECKING:
    from fleet.engine.attempts import Attempt
    from fleet.engine.clock import BrokerClock
    from fleet.engine.transitions.draft import Work


class StreamWriter(Protocol):
    """Writes what a step shows to its caller."""

    def write(self, work: "Work", attempt_id: str, number: int, event: Event) -> Awaitable[None]:
        """Append *event* as the *number*-th of an attempt; return when it is acknowledged."""
        ...


class Showing:
    """Of one attempt."""

    __slots__ = ("_attempt_id", "_count", "_writing")

    def __init__(self) -> None:
        self._attempt_id = ""
        self._count = 0
        #: What is not acknowledged, or was not, as a set that keeps its order.
        self._writing: dict[asyncio.Future[None], None] = {}

    def write(
        self, attempt: "Attempt", stream: StreamWriter, clock: "BrokerClock", event: Event
    ) -> Awaitable[None]:
        """Show *event*; return what waits until it is acknowledged."""
        if attempt.stopped:
            # It caught its cancellation and runs on; another worker may run the step by now.
            raise asyncio.CancelledError
        if not self._attempt_id:
            # When it began orders attempts: one of an owner before may show something only later.
            began_ms = round(clock.at_ms(attempt.started))
            self._attempt_id = f"{began_ms:x}.{secrets.token_hex(8)}"
        number, self._count = self._count, self._count + 1
        written = stream.write(attempt.work, self._attempt_id, number, event)
        writing = asyncio.ensure_future(written)
        self._writing[writing] = None
        writing.add_done_callback(self._written)
        return writing

    async def acknowledged(self) -> None:
        """Return when everything is; raise what kept something from it."""
        if self._writing:
            await asyncio.gather(*self._writing)

    def stop(self) -> None:
        """Try to write no more."""
        for writing in list(self._writing):
            writing.cancel()

    def _written(self, writing: "asyncio.Future[None]") -> None:
        # What failed is raised with the result; a step that failed has its own error to tell.
        if not writing.cancelled() and writing.exception() is None:
            self._writing.pop(writing, None)
