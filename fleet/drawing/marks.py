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


@dataclass(frozen=True, slots=True)
class Marks:
    """Those of one drawing; without them, nothing is marked."""

    nodes: Mapping[int, Mark] = field(default_factory=dict)
    arrows: Mapping[Arrow, Mark] = field(default_factory=dict)


NONE = Marks()
