"""What an attempt waits for before it starts, beside a slot."""

from contextlib import AbstractAsyncContextManager

from fleet.engine.admission.ownership import OwnershipCheck
from fleet.engine.admission.suspects import Suspects
from fleet.engine.admission.uncommitted import Uncommitted
from fleet.engine.transitions.draft import Work


class Gate:
    """Lets the attempts of one task start."""

    def __init__(
        self, uncommitted: Uncommitted, ownership: OwnershipCheck, suspects: Suspects
    ) -> None:
        self._uncommitted = uncommitted
        self._ownership = ownership
        self._suspects = suspects

    @property
    def held_back(self) -> bool:
        """Whether no attempt may start before a commit gets through."""
        return self._uncommitted.full

    async def until_owned(self) -> None:
        """Wait until ownership of the partition is confirmed."""
        await self._ownership.until_confirmed()

    def permit(self, work: Work) -> AbstractAsyncContextManager[None] | None:
        """Return what an attempt waits for and holds while it runs; mostly nothing."""
        return self._suspects.permit(work)
