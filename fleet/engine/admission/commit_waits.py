"""Who waits for what was decided to be in the log."""

import asyncio
from collections.abc import Callable


class CommitWaits:
    """Waits for the commit of everything that was decided until now."""

    def __init__(self, commit: Callable[[], object]) -> None:
        #: Asks for a commit.
        self._commit = commit
        #: Of what is in the open draft, and in the one that is being committed.
        self._unsealed: list[asyncio.Future[None]] = []
        self._sealed: list[asyncio.Future[None]] = []

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
        waiting, self._sealed = self._sealed, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
