"""How fast a command sends: in batches that fit its `--rate`, with pauses that Ctrl-C ends."""

import asyncio
import time

from fleet.control.interruption import Interruption

#: How often a pause checks whether the command is to end, in seconds.
_CHECK_SECONDS = 0.2


class Pace:
    """Starts to count when you create it. *rate* is per second; None sets no limit."""

    def __init__(self, rate: float | None, largest_batch: int) -> None:
        self._rate = rate
        self._began = time.monotonic()
        #: How many to send at once.
        self.batch = largest_batch if rate is None else max(1, min(largest_batch, int(rate)))

    async def wait(self, sent: int, interruption: Interruption) -> None:
        """Return when one more than *sent* may be sent; raises Interrupted."""
        if self._rate is None:
            return
        until = self._began + sent / self._rate
        while (left := until - time.monotonic()) > 0:
            interruption.check()
            await asyncio.sleep(min(left, _CHECK_SECONDS))
