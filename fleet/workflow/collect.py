"""
How a step that takes `list[E]` waits for the members of a fan-out.

`list[E]` alone waits for all of them. `Annotated[list[E], Collect(Take(3))]` begins with the third.
"""

from dataclasses import dataclass, field

from fleet.workflow.errors import WorkflowConfigurationError


class Uncollectable(WorkflowConfigurationError, ValueError):
    """Raised when `Take` or `Collect` gets something that it cannot count with.

    What to do: Write `Take(n)` with a whole number from 1 on, and `Collect(All())` or
    `Collect(Take(n))`.
    """


@dataclass(frozen=True)
class Cardinality:
    """How many members a join waits for: `All` or `Take`."""


@dataclass(frozen=True)
class All(Cardinality):
    """The join begins once, with every member that arrived, when all branches have ended."""


@dataclass(frozen=True)
class Take(Cardinality):
    """The join begins once, with the first *n* members, when the n-th arrives.

    If all branches have ended before, it begins with the members that there are.
    """

    #: How many members it waits for.
    n: int

    def __post_init__(self) -> None:
        """Refuse what is no count."""
        if not isinstance(self.n, int) or isinstance(self.n, bool) or self.n < 1:
            raise Uncollectable(f"Take(n) takes an integer greater than 0, not {self.n!r}")


@dataclass(frozen=True)
class Collect:
    """Says on a parameter when its step begins: `Annotated[list[E], Collect(Take(3))]`."""

    #: `All()` or `Take(n)`.
    cardinality: Cardinality = field(default_factory=All)

    def __post_init__(self) -> None:
        """Refuse what is neither `All()` nor `Take(n)`."""
        if not isinstance(self.cardinality, All | Take):
            given = self.cardinality
            shown = given.__name__ if isinstance(given, type) else repr(given)
            raise Uncollectable(f"Collect takes All() or Take(n), not {shown}")
