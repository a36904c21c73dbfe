"""
Faust's assignor, for members that come back under their name.

A static member that returns is given what it had, without asking anybody. What it had was assigned
to its predecessor: to a process with another web port, maybe, and of a version that read fewer
topics. Faust's assignor takes the first for an impossibility, and nobody notices the second.
"""

from collections.abc import Set as AbstractSet
from typing import Any, cast

from faust.assignor.client_assignment import ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor
from yarl import URL

from fleet.runtime.hooks import hook


class Assignor(PartitionAssignor):
    """Faust's assignor, which also takes what was assigned to a predecessor."""

    _predecessor: URL | None = None

    @property
    def _url(self) -> URL:
        return self._predecessor or super()._url

    @hook
    def on_assignment(self, assignment: Any) -> None:  # type: ignore[override]  # as Faust's
        """Take an assignment, whichever process of this name it was made for."""
        made_for = ClientMetadata.loads(self._decompress(assignment.user_data))
        self._predecessor = URL(cast("ClientMetadata", made_for).url)
        try:
            super().on_assignment(assignment)
        finally:
            self._predecessor = None

    def lacks(self, topics: AbstractSet[str]) -> bool:
        """Tell whether the group's partitions were assigned without some of *topics*."""
        return not topics <= self._topic_groups.keys()
