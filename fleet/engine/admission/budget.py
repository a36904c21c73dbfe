"""
What the tasks of one worker hold together, and when one of them has to wait.

A budget is the worker's, so that memory and the bill for repeated work do not grow with the number
of partitions. A task that holds less than its share never waits, so a partition that stands still
slows its neighbours down and does not stop them.
"""

from dataclasses import dataclass, field

#: Delivered events that are not done, in bytes: of each task in any case. One event always fits.
WINDOW_SHARE_BYTES = 1024 * 1024
#: Steps that have ended and are not committed, of a worker and of each task in any case. They run
#: again after a crash, so this is a limit of what a crash costs. A commit takes some tens of
#: milliseconds, in which a busy worker ends some hundred steps.
UNCOMMITTED_STEPS = 4_000
UNCOMMITTED_SHARE_STEPS = 100
#: What the next commits hold, in bytes: records and changes of the state.
UNCOMMITTED_BYTES = 64 * 1024 * 1024
UNCOMMITTED_SHARE_BYTES = 1024 * 1024


class Budget:
    """How much of something the tasks of a worker may hold."""

    def __init__(self, total: int, share: int) -> None:
        self.total = total
        #: What a task may hold whatever the others do.
        self.share = share
        self.held = 0

    def account(self) -> "Account":
        """Return the account of one task."""
        return Account(self)


class Account:
    """How much of a budget one task holds."""

    def __init__(self, budget: Budget) -> None:
        self.held = 0
        self._budget = budget
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether the task has to wait before it takes more."""
        budget = self._budget
        return budget.held >= budget.total and self.held >= budget.share

    @property
    def half_full(self) -> bool:
        """Whether half of what lets it wait is held."""
        budget = self._budget
        return 2 * budget.held >= budget.total and 2 * self.held >= budget.share

    def add(self, amount: int) -> None:
        """Hold *amount* more, or less where it is negative."""
        if not self._closed:
            self.held += amount
            self._budget.held += amount

    def close(self) -> None:
        """Hold nothing from here on."""
        self.add(-self.held)
        self._closed = True


def _steps() -> Budget:
    return Budget(UNCOMMITTED_STEPS, UNCOMMITTED_SHARE_STEPS)


def _uncommitted() -> Budget:
    return Budget(UNCOMMITTED_BYTES, UNCOMMITTED_SHARE_BYTES)


@dataclass(frozen=True, slots=True)
class Budgets:
    """The budgets of one worker."""

    #: Delivered events that are not done, in bytes.
    window: Budget
    #: Steps that have ended and are not committed.
    steps: Budget = field(default_factory=_steps)
    #: What the next commits hold, in bytes.
    uncommitted: Budget = field(default_factory=_uncommitted)

    @classmethod
    def of(cls, window_bytes: int) -> "Budgets":
        """Return budgets with a window of *window_bytes*."""
        return cls(Budget(window_bytes, WINDOW_SHARE_BYTES))
