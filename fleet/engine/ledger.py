"""
A task's state: what is committed, what is being committed, and what the next commit will hold.

Decisions go into the open draft at once and see all three, so two starts of one run that arrive
before a commit are told apart. When a commit is acknowledged its changes reach the store, and not
before: local state is never ahead of the log.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

from fleet.engine.log import Receipt
from fleet.engine.transitions.draft import Draft
from fleet.records.state import LargeOverlay, View

#: How many entries are read at once of those that may be millions.
_PAGE_ENTRIES = 5_000


class StateStore(View, Protocol):
    """Where a task's committed state is kept."""

    @property
    def size(self) -> int:
        """About how large it is, in bytes."""
        ...

    def write(
        self, changes: Mapping[bytes, bytes | None], state_offset: int, appended_ms: int = 0
    ) -> None:
        """Apply a commit's changes, all or none.

        *state_offset* is the changelog's next offset, 0 if it did not change; *appended_ms* is
        when the broker appended them, in unix milliseconds, 0 if that is not known.
        """
        ...

    def scan(self, prefix: bytes, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return at most *limit* entries under *prefix* whose keys are greater than *after*."""
        ...

    def close(self) -> None:
        """Release what the store holds."""
        ...


class Ledger:
    """A view of the state with everything that was decided."""

    def __init__(self, store: StateStore) -> None:
        self.store = store
        self.sealed: Draft | None = None
        self.open = Draft(LargeOverlay(store))

    def get(self, key: bytes) -> bytes | None:
        """Return the decided value of *key*."""
        return self.open.state.get(key)

    def items(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the decided entries under *prefix*."""
        return self.open.state.items(prefix)

    def committed(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the committed entries under *prefix*, a page at a time: there may be millions."""
        after = prefix
        while page := self.store.scan(prefix, after, _PAGE_ENTRIES):
            yield from page
            after = page[-1][0]

    def drafts(self) -> list[Draft]:
        """Return what is decided and not committed."""
        return [self.open] if self.sealed is None else [self.sealed, self.open]

    def seal(self) -> Draft:
        """Close the open draft for its commit and begin another over it."""
        assert self.sealed is None, "one commit at a time"
        self.sealed = self.open
        self.open = Draft(LargeOverlay(self.sealed.state))
        return self.sealed

    def settle(self, receipt: Receipt) -> None:
        """Bring the sealed draft, which is committed, into the store."""
        assert self.sealed is not None
        self.store.write(self.sealed.state.changes, receipt.state_offset, receipt.appended_ms)
        self.open.state.below = self.store
        self.sealed = None
