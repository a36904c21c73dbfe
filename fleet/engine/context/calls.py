"""
Recorded calls while steps run: one at a time for each call, and each waits for its commit.

Of calls that all steps of a run share, the next one may begin only after that commit: what it
reads must not be lost any more.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

from fleet.engine.context import still_running
from fleet.engine.context.last_calls import LastCalls
from fleet.engine.context.turns import Turns
from fleet.engine.transitions import journal
from fleet.records.calls import Call, Scope
from fleet.workflow.errors import CallTooLate
from fleet.workflow.failing import exceptions

if TYPE_CHECKING:
    from fleet.engine.attempts import Attempt
    from fleet.engine.context.own_commits import OwnCommits
    from fleet.engine.ledger import Ledger
    from fleet.engine.transitions.draft import Work


#: How many turns of the loop a step gets that awaits several things, of which one may be there.
_TURNS = 10
#: How many calls the running code is inside of.
_AROUND: ContextVar[int] = ContextVar("fleet_calls_around", default=0)


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
        self._counts: Counter[str] = Counter()
        self._last = LastCalls()
        #: Calls that are being made, and of these the ones whose own code awaits a run.
        self._going_on = 0
        self._blocked = 0
        self._changed = asyncio.Event()

    @property
    def asked(self) -> tuple[Call, ...]:
        """The calls that no other step shares."""
        return tuple(self._asked)

    @property
    def is_open(self) -> bool:
        """Whether the step runs, and the running code is in its event loop."""
        task = self._attempt.task
        return task is not None and not task.done() and _in_loop_of(task)

    def count(self, asked: str) -> int:
        """Return how often the attempt has asked so, from 1; this time counts."""
        self._counts[asked] += 1
        return self._counts[asked]

    def asking(self, call: Call) -> AbstractContextManager[None]:
        """Note that the step awaits an answer, which it may refuse."""
        return self._last.asking(call)

    def making(self, call: Call) -> AbstractContextManager[None]:
        """Note what the call raises."""
        return self._last.making(call)

    def refused_with(self, error: BaseException) -> tuple[Call, ...]:
        """Return the calls to make again after the step has ended with *error*."""
        return self._last.refused_with(error)

    @property
    def failed(self) -> Mapping[Call, Exception]:
        """What calls have raised that have given nothing."""
        return self._last.failed

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Note that a call is being made: its answer would be lost with the attempt."""
        self._going_on += 1
        before = _AROUND.set(_AROUND.get() + 1)
        try:
            yield
        finally:
            # Not in its own context if Python clears it up.
            with suppress(ValueError):
                _AROUND.reset(before)
            self._going_on -= 1
            self._changed.set()

    async def others_over(self) -> None:
        """Return when no call of the attempt is being made, and its code has had its turn."""
        around = _AROUND.get()
        self._blocked += around
        self._changed.set()
        try:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
                while self._going_on > self._blocked:
                    self._changed.clear()
                    await self._changed.wait()
        finally:
            self._blocked -= around

    @asynccontextmanager
    async def turn(self, call: Call) -> AsyncIterator[None]:
        """Wait for others that make this call now; keep others out while it is held."""
        self._must_run()
        async with self._calls.turns.turn(journal.key(self._attempt.work, call)):
            self._must_run()
            with self.going_on():
                yield

    async def read(self, call: Call) -> bytes | None:
        """Return what is recorded for a call once that is in the log, or None.

        In a replay raises what the call has raised in the run.
        """
        self._must_run()
        self._note(call)
        found = await self._calls.read(self._attempt.work, call)
        failure = journal.failure(found)
        if failure is not None:
            raise exceptions.revived(failure)
        return found

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


def _in_loop_of(task: "asyncio.Task[None]") -> bool:
    try:
        return asyncio.get_running_loop() is task.get_loop()
    except RuntimeError:
        return False
