"""
What the engine does for `edit_state()`: one block of a run at a time, and each change once.

The changes of a block are the *n-th edit* of its step for its event. They are committed by
themselves, with a note of what they replaced. So a repeated attempt does not apply them again, and
its block sees what it changed as that was the first time.
"""

from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

#: Values by path, as JSON; None: there is none.
Leaves = dict[str, bytes | None]


class Edit(NamedTuple):
    """What a block has changed, by path."""

    #: The new values; None deletes.
    changes: Leaves
    #: What the block saw there before.
    before: Leaves


class Editor(Protocol):
    """Takes the edits of one attempt."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait for the blocks of the run that asked before; keep others out while it is held."""
        ...

    async def replaced(self, number: int) -> Leaves | None:
        """Return what the *number*-th edit replaced, if an earlier attempt has made it.

        Waits until that edit is committed.
        """
        ...

    def edit(self, number: int, edit: Edit) -> Awaitable[None]:
        """Let an edit take effect at once; what is returned waits until it is committed.

        Raises RecordTooLarge.
        """
        ...
