"""
How much of a task is finished and not committed.

A commit can take long, or never get through: a broker that is away, a record that it refuses.
Everything that ends meanwhile is lost in a crash and is done again, so it is capped: over the cap
no step begins and no record is taken. A step that runs is never held up by it.
"""

from fleet.engine.admission.budget import Budgets
from fleet.engine.ledger import Ledger


class Uncommitted:
    """What the drafts of one task hold, counted against the worker's budgets."""

    def __init__(self, ledger: Ledger, budgets: Budgets) -> None:
        self._ledger = ledger
        self._steps = budgets.steps.account()
        self._size = budgets.uncommitted.account()

    @property
    def full(self) -> bool:
        """Whether a commit has to get through before anything begins."""
        self.count()
        return self._steps.full or self._size.full

    def count(self) -> None:
        """Count what was decided, or committed, since the last time."""
        drafts = self._ledger.drafts()
        self._steps.add(sum(draft.steps for draft in drafts) - self._steps.held)
        self._size.add(sum(draft.measure() for draft in drafts) - self._size.held)

    def close(self) -> None:
        """Hold nothing from here on: what was not committed never will be."""
        self._steps.close()
        self._size.close()
