"""
What the state of a run is to its steps: an object of the model that they name, or a DictState.

A state object is made of the values that the state has, and gives leaves that the state keeps. Each
leaf comes back as it is, or it is refused with its path when it is written.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Protocol

from pydantic import BaseModel

from fleet.workflow.context_state.typed import Typed
from fleet.workflow.context_state.untyped import Untyped


class StateType(Protocol):
    """The type of the states of one workflow's runs."""

    @property
    def needs_all(self) -> bool:
        """Whether no field is read without the others."""
        ...

    @property
    def filled(self) -> frozenset[str]:
        """The fields whose defaults are dictionaries with members."""
        ...

    def made(self, stored: Mapping[str, Any]) -> Any:
        """Return the state that has *stored* values, and defaults for the rest."""
        ...

    def names(self, state: Any) -> Iterable[str]:
        """Return the names of the values that a state has."""
        ...

    def unsure(self, state: Any, names: Iterable[str]) -> set[str]:
        """Return those of *names* whose values JSON may write in several ways."""
        ...

    def leaves(self, state: Any, names: Iterable[str] | None = None) -> dict[str, bytes]:
        """Return the leaves of a state by path, or those under *names*.

        Raises ContextStateError for a value that would not come back as it is.
        """
        ...

    def replaced(self, current: Any, given: Any) -> Any:
        """Return what *given* makes of the state *current*; raise ContextStateError."""
        ...


@lru_cache
def of(model: type[BaseModel] | None) -> StateType:
    """Return the type of the states of runs whose steps name *model*, or none."""
    return Typed(model) if model is not None else Untyped()
