"""
Recorded calls while steps run: one at a time for each call, and each waits for its commit.

Of calls that all steps of a run share, the next one may begin only after that commit: what it
reads must not be lost any more.
"""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fleet.engine.context import still_running
from fleet.engine.context.turns import Turns
from fleet.engine.transitions import journal
from fleet.records.calls import Call, Scope
from fleet.workflow.errors import CallTooLate

if TYPE_CHECKING:
    from fleet.engine.attempts import Attempt
    from fleet.engine.context.own_commits import OwnCommits
    from fleet.engine.ledger import Ledger
    from fleet.engine.transitions.draft import Work


class RecordedCalls:
    """The calls of one task's steps."""

    def __init__(self, ledger: "Ledger", own_commits: "OwnCommits") -> None:
        self._ledger = ledger
        self._own_commits = own_commits
        #: By state key.
        self.turns: Turns[bytes] = Turns()

    async def read(self, work: "Work", call: Call) -> bytes | None:
        """Return what is recorded, once it is in the log."""
        found = journal.read(self._ledger, work, call)
        if found is not None and journal.read(self._ledger.store, work, call) != found:
            # An attempt before has decided it, and was stopped before its commit.
            await self._own_commits.everything()
            return journal.read(self._ledger, work, call)
        return found

    def record(self, work: "Work", call: Call, value: bytes) -> Awaitable[None]:
        """Decide what a call gave; return what waits until it is committed."""
        journal.put(self._ledger.open, work, call, value)
        return self._own_commits.of(work, journal.name(call))


class AttemptCalls:
    """See `fleet.records.calls.Calls`."""

    def __init__(self, calls: RecordedCalls, attempt: "Attempt") -> None:
        self._calls = calls
        self._attempt = attempt
        #: What the step's result removes, in the order in which it was asked for.
        self._asked: dict[Call, None] = {}

    @property
    def asked(self) -> tuple[Call, ...]:
        """The calls that no other step shares."""
        return tuple(self._asked)

    @asynccontextmanager
    async def turn(self, call: Call) -> AsyncIterator[None]:
        """Wait for others that make this call now; keep others out while it is held."""
        self._must_run()
        async with self._calls.turns.turn(journal.key(self._attempt.work, call)):
            self._must_run()
            yield

    async def read(self, call: Call) -> bytes | None:
        """Return what is recorded for a call once that is in the log, or None."""
        self._must_run()
        self._note(call)
        return await self._calls.read(self._attempt.work, call)

    def record(self, call: Call, value: bytes) -> Awaitable[None]:
        """Record what a call gave; what is returned waits until it is committed."""
        self._must_run()
        self._note(call)
        return self._calls.record(self._attempt.work, call, value)

    def _note(self, call: Call) -> None:
        if call.scope is Scope.STEP:
            self._asked[call] = None

    def _must_run(self) -> None:
        still_running.check(self._attempt, CallTooLate)
