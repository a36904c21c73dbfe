"""
Edits of the context while steps run: one block of a run at a time, and each waits for its commit.

The next block of a run may begin as soon as an edit is decided: it sees what was decided, and is
never committed without it. So edits that follow each other share commits.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fleet.engine.admission.commit_waits import CommitWaits
from fleet.engine.transitions import edits
from fleet.workflow.editing import Edit, Leaves
from fleet.workflow.errors import EditTooLate

if TYPE_CHECKING:
    from fleet.engine.attempts import Attempt
    from fleet.engine.commits import Commits
    from fleet.engine.ledger import Ledger
    from fleet.engine.transitions.refused import Culprit


@dataclass(eq=False, slots=True)
class _Turns:
    """The blocks of one run, in the order in which they asked."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    #: How many are open or wait.
    blocks: int = 0


class Edits:
    """The edits of one task's steps."""

    def __init__(self, ledger: "Ledger", commits: "Commits") -> None:
        self._ledger = ledger
        #: By run.
        self._turns: dict[str, _Turns] = {}
        self._waits = CommitWaits(commits.now)
        #: What each edit that is not committed waits for.
        self._pending: dict[tuple[int, int], asyncio.Future[None]] = {}

    def editor(self, attempt: "Attempt") -> "AttemptEditor":
        """Return who takes the edits of an attempt."""
        return AttemptEditor(self, attempt)

    @asynccontextmanager
    async def turn(self, run_id: str) -> AsyncIterator[None]:
        """Wait for the blocks of the run that asked before, and keep others out."""
        turns = self._turns.setdefault(run_id, _Turns())
        turns.blocks += 1
        try:
            async with turns.lock:
                yield
        finally:
            turns.blocks -= 1
            if not turns.blocks:
                del self._turns[run_id]

    def replaced(self, attempt: "Attempt", number: int) -> Leaves | None:
        """Return what an edit replaced, if an earlier attempt has made it."""
        return edits.replaced(self._ledger, attempt.work, number)

    def make(self, attempt: "Attempt", number: int, edit: Edit) -> Awaitable[None]:
        """Decide an edit; return what waits until it is committed."""
        edits.make(self._ledger.open, attempt.work, number, edit)
        committed, key = self._waits.add(), (id(attempt.work), number)
        self._pending[key] = committed
        committed.add_done_callback(lambda _: self._pending.pop(key, None))
        return committed

    def refused(self, culprit: "Culprit") -> None:
        """Let the step fail whose edit the broker refuses."""
        committed = self._pending.get((id(culprit.work), culprit.edit))
        if committed is not None and not committed.done():
            committed.set_exception(culprit.error)

    def sealed(self) -> None:
        """Note that what was decided until now is being committed."""
        self._waits.sealed()

    def committed(self) -> None:
        """Note that it is in the log."""
        self._waits.committed()


class AttemptEditor:
    """See `fleet.workflow.editing.Editor`."""

    def __init__(self, edits: Edits, attempt: "Attempt") -> None:
        self._edits = edits
        self._attempt = attempt

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the blocks of the run that asked before; keep others out while it is held."""
        self._must_run()
        async with self._edits.turn(self._attempt.work.envelope.run_id):
            self._must_run()
            yield

    def replaced(self, number: int) -> Leaves | None:
        """Return what the *number*-th edit replaced, if an earlier attempt has made it."""
        return self._edits.replaced(self._attempt, number)

    def edit(self, number: int, edit: Edit) -> Awaitable[None]:
        """Let an edit take effect; what is returned waits until it is committed."""
        self._must_run()
        return self._edits.make(self._attempt, number, edit)

    def _must_run(self) -> None:
        attempt = self._attempt
        if attempt.stopped:
            # It caught its cancellation and runs on; its run has ended, or another worker has it.
            raise asyncio.CancelledError
        if attempt.task is None or attempt.task.done():
            raise EditTooLate(attempt.work.step.name)
