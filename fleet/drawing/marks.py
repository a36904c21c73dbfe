"""How parts of a drawing differ from the others: for the drawing of a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fleet.drawing.picture import Arrow


class Mark(StrEnum):
    """What became of a node or an arrow; also its CSS class."""

    TAKEN = "taken"
    UNTAKEN = "untaken"
    #: It belongs to the branch that failed.
    BRANCH = "branch"
    #: It is what failed.
    FAILED = "failed"
    #: A step with work that is not done.
    UNFINISHED = "unfinished"

    @property
    def spoken(self) -> str:
        """What a screen reader says for a node that has it."""
        return _SPOKEN.get(self, "")


_SPOKEN = {
    Mark.UNTAKEN: "not reached",
    Mark.BRANCH: "in the branch that failed",
    Mark.FAILED: "failed",
    Mark.UNFINISHED: "not done",
}


@dataclass(frozen=True, slots=True)
class Marks:
    """Those of one drawing; without them, nothing is marked."""

    nodes: Mapping[int, Mark] = field(default_factory=dict)
    arrows: Mapping[Arrow, Mark] = field(default_factory=dict)


NONE = Marks()
