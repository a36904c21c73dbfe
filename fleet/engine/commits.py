"""
The commit loop of a task: when to commit, and what a commit holds.

One at a time. It starts at once when the last one is long enough ago and gathers while work keeps
coming, because a transaction costs the same for one step as for hundreds. What no caller waits for
(positions, records that were only read) goes along or follows a little later.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

from fleet.engine.ledger import Ledger
from fleet.engine.log import Log, Receipt, RecordsRefused
from fleet.engine.transitions.draft import Draft

#: Longest pause between the end of one commit and the next while work keeps coming, in seconds.
GATHER_SECONDS = 0.025
#: How long a change that no caller waits for may wait, in seconds.
LATER_SECONDS = 0.1


class Committed(NamedTuple):
    """A commit that was acknowledged."""

    #: Broker time by topic, in unix milliseconds; empty if the log has none.
    times: Mapping[str, int]
    #: With the changes of the state.
    records: int
    #: Of the values, in bytes.
    size: int
    seconds: float
    #: What it held.
    draft: Draft


class Commits:
    """Seals the ledger's draft, appends it to the log and settles it."""

    def __init__(  # noqa: PLR0913 - each hears of something else
        self,
        log: Log,
        ledger: Ledger,
        positions: Callable[[], Mapping[bytes, bytes]],
        committed: Callable[[Committed], None],
        refused: Callable[[Draft, RecordsRefused], None] | None = None,
        all_in_log: Callable[[], None] = lambda: None,
    ) -> None:
        self._log = log
        self._ledger = ledger
        self._positions = positions
        self._committed = committed
        self._refused = refused
        #: Hears that nothing was to be committed: all that was decided is in the log.
        self._all_in_log = all_in_log
        self._something = asyncio.Event()
        self._urgent = asyncio.Event()
        self._running = False
        #: How many wait for the end of all commits: do not gather.
        self._hurrying = 0
        self._idle = asyncio.Event()
        self._ended = 0.0
        self._pause = 0.0

    def now(self) -> None:
        """Commit what was decided as soon as it pays."""
        self._something.set()
        self._urgent.set()

    def later(self) -> None:
        """Commit what was decided, with other things or soon."""
        self._something.set()

    async def finish(self) -> None:
        """Commit everything that was decided; return when it is, or when nothing commits."""
        self._hurrying += 1
        try:
            self._idle.clear()
            self.now()
            while self._running and not self._idle.is_set():
                await self._idle.wait()
        finally:
            # The one that waits may have given up: the loop gathers again.
            self._hurrying -= 1

    async def run(self) -> None:
        """Commit until cancelled; raises TaskLost when the log is lost."""
        self._running = True
        try:
            while True:
                await self._something.wait()
                await self._gather()
                self._something.clear()
                self._urgent.clear()
                await self._commit()
                if not self._something.is_set():
                    self._idle.set()
        finally:
            self._running = False
            self._idle.set()

    async def _gather(self) -> None:
        if self._hurrying:
            return
        if not self._urgent.is_set():
            try:
                # Not `wait_for`: it loses a cancellation that comes as soon as it is through.
                async with asyncio.timeout(LATER_SECONDS):
                    await self._urgent.wait()
            except TimeoutError:
                return
        # Steps that end in the same turn of the loop share the commit, also after a pause.
        await asyncio.sleep(max(0.0, self._ended + self._pause - _now()))

    async def _commit(self) -> None:
        positions = self._positions()
        if not (positions or self._ledger.open.records or self._ledger.open.state.changes):
            self._all_in_log()
            return
        draft = self._ledger.seal()
        draft.state.changes.update(positions)
        began = _now()
        receipt = await self._append(draft)
        self._ended = _now()
        # As long as the commit took: a lone run is hardly held up, and if the broker or this
        # process is busy, fewer and larger transactions are what helps.
        self._pause = min(GATHER_SECONDS, self._ended - began)
        self._ledger.settle(receipt)
        values = [record.value for record in draft.records] + [*draft.state.changes.values()]
        size = sum(len(value) for value in values if value is not None)
        seconds = self._ended - began
        self._committed(Committed(receipt.times, len(values), size, seconds, draft))

    async def _append(self, draft: Draft) -> Receipt:
        while True:
            try:
                return await self._log.commit(draft.records, draft.state.changes)
            except RecordsRefused as refused:
                if self._refused is None:
                    raise
                self._refused(draft, refused)


def _now() -> float:
    return asyncio.get_running_loop().time()
