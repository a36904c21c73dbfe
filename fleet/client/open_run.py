"""A run that a caller of this process waits for: what the log has said of it so far."""

import asyncio
import math
from dataclasses import dataclass

from fleet.client.handler import WorkflowHandler
from fleet.records.log import Delivered

_LATEST = 2**63 - 1


@dataclass(eq=False, slots=True)
class OpenRun:
    """One start event and its handler. Several may have the same run id."""

    handler: WorkflowHandler
    start_event_id: str
    timeout_seconds: float | None
    #: The caller chose the run's id, so other callers may have used it, too.
    known_elsewhere: bool
    #: Others began it: no start event is sent.
    attached: bool = False
    #: Its partition is followed for it.
    followed: bool = False
    #: The log has acknowledged the start event, or it was read what the run has come to.
    sent: bool = False
    #: Done then; None if nothing waits for that.
    on_sent: asyncio.Future[None] | None = None
    #: `started` or `known` was read for this start event. It may be read again after a look back.
    answered: bool = False
    #: It waits for a place in a worker (`num_concurrent_runs`).
    queued: bool = False
    #: Lowest offset at which a terminal record may be the run's end.
    end_from: int = _LATEST
    #: The run's epoch when its start event was answered.
    epoch: int = 0
    #: The epoch that its end ended.
    end_epoch: int = 0
    #: When its caller stops waiting, in seconds of the loop's clock.
    deadline: float = math.inf
    patience: asyncio.TimerHandle | None = None
    #: Records of `runs` that arrive during a look back: they count after it.
    held: list[Delivered] | None = None
    #: Its background work.
    work: asyncio.Task[None] | None = None

    async def until_sent(self) -> None:
        """Return once the log has the start event, or the run's end.

        What is sent to a run earlier may be answered before its partition is followed. Raises the
        error of a wait that ended without either.
        """
        if not self.sent:
            self.on_sent = self.on_sent or asyncio.get_running_loop().create_future()
            ended = asyncio.ensure_future(self.handler.until_done())
            try:
                await asyncio.wait((self.on_sent, ended), return_when=asyncio.FIRST_COMPLETED)
            finally:
                ended.cancel()
        if self.sent or self.handler.has_ended:
            return
        if (error := self.handler.exception()) is not None:
            raise error

    def note_sent(self) -> None:
        """Note that the log has the start event, or that it was read what the run has come to."""
        self.sent = True
        if self.on_sent is not None and not self.on_sent.done():
            self.on_sent.set_result(None)

    def hold(self) -> None:
        """Keep what arrives: a later end must not overtake the one that counts."""
        self.held = []

    def count_from(self, offset: int) -> list[Delivered]:
        """Let ends count from *offset* on; return what was held."""
        held, self.held = self.held or [], None
        self.end_from = offset
        return held
