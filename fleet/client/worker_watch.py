"""
Whether a worker is there to run what a caller has started.

A start that no worker answers looks like one that takes long. So a caller without an answer for a
second asks the broker for the members of the step group. It asks in the background, and only while
it waits.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable

from aiokafka.errors import KafkaError

from fleet.config import logs

_log = logs.get_logger("caller")
#: How long without an answer to a start before it asks the broker, in seconds.
SILENT_SECONDS = 1.0
#: How long its answer may take, in seconds.
ANSWER_SECONDS = 5.0
#: Between two questions while workers are there, in seconds.
AGAIN_SECONDS = 5.0


class WorkerWatch:
    """Asks for the members of *group* while starts have no answer."""

    def __init__(self, group: str, members: Callable[[str], Awaitable[int]] | None) -> None:
        self._group = group
        self._members = members
        self._waiting: set[Hashable] = set()
        #: When a start was last answered, in seconds of the loop's clock.
        self._heard = 0.0
        #: The broker's last answer; None if it has not answered.
        self._found: int | None = None
        #: Set while the broker says that the group has no member.
        self.absent = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def advice(self) -> str:
        """A sentence about a start that has no answer."""
        if self._found is None:
            said = f"No worker of the step group {self._group} has answered; is one running?"
        elif self._found == 0:
            said = _absent(self._group)
        else:
            many = f"{self._found} worker{'' if self._found == 1 else 's'}"
            said = (
                f"The step group {self._group} has {many} and none has answered: `fleet lag` shows "
                "how far behind they are, `fleet dead list` what they could not read."
            )
        return f"{said} The run stays queued."

    def sent(self, start: Hashable) -> None:
        """Hear that the log has a start event."""
        if self._members is None:
            return
        self._waiting.add(start)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch(), name="fleet workers")

    def answered(self, start: Hashable) -> None:
        """Hear that a worker has answered it."""
        self._heard = asyncio.get_running_loop().time()
        self._waiting.discard(start)
        self.absent.clear()

    def dropped(self, start: Hashable) -> None:
        """Hear that its caller has stopped waiting."""
        self._waiting.discard(start)

    def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(SILENT_SECONDS)
        while self._waiting:
            if loop.time() - self._heard < SILENT_SECONDS:
                await asyncio.sleep(SILENT_SECONDS)
                continue
            await self._look()
            await asyncio.sleep(AGAIN_SECONDS if self._found else SILENT_SECONDS)

    async def _look(self) -> None:
        assert self._members is not None, "without it there is no watch"
        before = self._found
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                self._found = await self._members(self._group)
        except (KafkaError, OSError, TimeoutError):
            # Not allowed to ask, or the broker is away: other parts report that.
            self._found = None
            self.absent.clear()
            return
        self._note_absence()
        if self._found == 0 and before != 0 and self._waiting:
            _log.warning(
                "no_worker",
                group=self._group,
                waiting=len(self._waiting),
                reason=f"{_absent(self._group)} The runs stay queued.",
            )

    def _note_absence(self) -> None:
        if self._found:
            self.absent.clear()
        else:
            self.absent.set()


def _absent(group: str) -> str:
    prefix = group.rsplit(".", 2)[0]
    return (
        f"No worker of the step group {group} is there: start one with `faust -A MODULE worker -l "
        f"info`, at the same broker and with FLEET_PREFIX={prefix}."
    )
