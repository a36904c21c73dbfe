"""Who waits for what was decided to be in the log."""

import asyncio
from collections.abc import Callable

Waiters = list[asyncio.Future[None]]


class CommitWaits:
    """Waits for the commit of everything that was decided until now."""

    def __init__(self, commit: Callable[[], object]) -> None:
        #: Asks for a commit.
        self._commit = commit
        #: Of what is in the open draft, and in the one that is being committed.
        self._unsealed: Waiters = []
        self._sealed: Waiters = []

    def add(self) -> "asyncio.Future[None]":
        """Return what is done once everything that was decided until now is in the log."""
        committed = asyncio.get_running_loop().create_future()
        self._unsealed.append(committed)
        self._commit()
        return committed

    def sealed(self) -> None:
        """Note that what was decided until now is being committed."""
        self._sealed += self._unsealed
        self._unsealed = []

    def committed(self) -> None:
        """Note that it is in the log."""
        waiters, self._sealed = self._sealed, []
        wake(waiters)

    def unmet(self) -> Waiters:
        """Return those that still wait, for `inherit` of the partition's next task."""
        return [waiter for waiter in self._sealed + self._unsealed if not waiter.done()]

    def inherit(self, waiters: Waiters) -> None:
        """Let *waiters* wait for the next commit, too."""
        self._unsealed += waiters


def wake(waiters: Waiters) -> None:
    """Let *waiters* wait no more."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
