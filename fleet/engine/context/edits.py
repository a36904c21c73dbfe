"""
Edits of the context while steps run: one block of a run at a time, and each waits for its commit.

The next block of a run may begin as soon as an edit is decided: it sees what was decided, and is
never committed without it. So edits that follow each other share commits.
"""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fleet.engine.context import still_running
from fleet.engine.context.turns import Turns
from fleet.engine.transitions import edits
from fleet.workflow.editing import Edit, Leaves
from fleet.workflow.errors import EditTooLate

if TYPE_CHECKING:
    from fleet.engine.attempts import Attempt
    from fleet.engine.context.own_commits import OwnCommits
    from fleet.engine.ledger import Ledger


class Edits:
    """The edits of one task's steps."""

    def __init__(self, ledger: "Ledger", own_commits: "OwnCommits") -> None:
        self._ledger = ledger
        self._own_commits = own_commits
        #: The blocks, by run.
        self.turns: Turns[str] = Turns()

    async def replaced(self, attempt: "Attempt", number: int) -> Leaves | None:
        """Return what an edit replaced once it is in the log, if an earlier attempt has made it."""
        work = attempt.work
        found = edits.replaced(self._ledger, work, number)
        if found is not None and edits.replaced(self._ledger.store, work, number) is None:
            # That attempt has decided it, and was stopped before its commit.
            await self._own_commits.everything()
            return edits.replaced(self._ledger, work, number)
        return found

    def make(self, attempt: "Attempt", number: int, edit: Edit) -> Awaitable[None]:
        """Decide an edit; return what waits until it is committed."""
        edits.make(self._ledger.open, attempt.work, number, edit)
        return self._own_commits.of(attempt.work, edits.name(number))


class AttemptEditor:
    """See `fleet.workflow.editing.Editor`."""

    def __init__(self, edits: Edits, attempt: "Attempt") -> None:
        self._edits = edits
        self._attempt = attempt

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the blocks of the run that asked before; keep others out while it is held."""
        self._must_run()
        async with self._edits.turns.turn(self._attempt.work.envelope.run_id):
            self._must_run()
            yield

    async def replaced(self, number: int) -> Leaves | None:
        """Return what the *number*-th edit replaced, if an earlier attempt has made it.

        That is once it is in the log.
        """
        found = await self._edits.replaced(self._attempt, number)
        self._must_run()
        return found

    def edit(self, number: int, edit: Edit) -> Awaitable[None]:
        """Let an edit take effect; what is returned waits until it is committed."""
        self._must_run()
        return self._edits.make(self._attempt, number, edit)

    def _must_run(self) -> None:
        still_running.check(self._attempt, EditTooLate)
