"""
What steps commit while they run: edits of the context and recorded calls.

The step waits for its commit. If the broker refuses it, the step gets the error at its own line.
"""

from typing import TYPE_CHECKING

from fleet.engine.admission.commit_waits import CommitWaits
from fleet.engine.context.calls import AttemptCalls, RecordedCalls
from fleet.engine.context.children import ChildRuns
from fleet.engine.context.edits import AttemptEditor, Edits

if TYPE_CHECKING:
    import asyncio

    from fleet.engine.attempts import Attempt
    from fleet.engine.clock import BrokerClock
    from fleet.engine.commits import Commits
    from fleet.engine.ledger import Ledger
    from fleet.engine.transitions.draft import Work
    from fleet.engine.transitions.refused import Culprit
    from fleet.records.topics import Topics


class OwnCommits:
    """Of one task's steps."""

    def __init__(
        self, ledger: "Ledger", commits: "Commits", topics: "Topics", clock: "BrokerClock"
    ) -> None:
        self._waits = CommitWaits(commits.now)
        #: What each step waits for that is not committed.
        self._pending: dict[tuple[int, str], asyncio.Future[None]] = {}
        self._edits = Edits(ledger, self)
        self._calls = RecordedCalls(ledger, self)
        #: The runs that they await.
        self.child_runs = ChildRuns(ledger, self, topics, clock)

    def editor(self, attempt: "Attempt") -> AttemptEditor:
        """Return who takes the edits of an attempt."""
        return AttemptEditor(self._edits, attempt)

    def calls(self, attempt: "Attempt") -> AttemptCalls:
        """Return who keeps the calls of an attempt."""
        return AttemptCalls(self._calls, attempt)

    def everything(self) -> "asyncio.Future[None]":
        """Return what is done once everything that was decided until now is in the log."""
        return self._waits.add()

    def of(self, work: "Work", call: str) -> "asyncio.Future[None]":
        """Return what is done once *call*, which a step has just decided, is in the log.

        It raises if the broker refuses the call.
        """
        committed, key = self._waits.add(), (id(work), call)
        self._pending[key] = committed
        committed.add_done_callback(lambda _: self._pending.pop(key, None))
        return committed

    def refused(self, culprit: "Culprit") -> None:
        """Let the step fail for which the broker refuses something."""
        committed = self._pending.get((id(culprit.work), culprit.call))
        if committed is not None and not committed.done():
            committed.set_exception(culprit.error)

    def sealed(self) -> None:
        """Note that what was decided until now is being committed."""
        self._waits.sealed()

    def committed(self) -> None:
        """Note that it is in the log."""
        self._waits.committed()
