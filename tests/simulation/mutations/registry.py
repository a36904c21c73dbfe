"""
The engine with one guard taken out at a time: the simulator must notice each.

A mutation replaces one function. Where nothing notices, either the simulator is blind there or the
guard is not needed: both are worth knowing.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from simulation.history import simulate

#: How many histories a mutation may get through unseen, from where its search begins. After a
#: change of the engine or of the plans, `run.py --mutations` says where that is now.
MOST_SEEDS = 1_000

_Replacement = Callable[..., Any]


@dataclass(frozen=True)
class Mutation:
    """A guard, and what is there in its place."""

    name: str
    owner: Any
    attribute: str
    replacement: Any
    #: Where a search begins: a history that saw it once, for those that few see.
    near: int = 0

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Run without the guard."""
        with patch.object(self.owner, self.attribute, self.replacement):
            yield

    def is_seen(self, seed: int) -> bool:
        """Whether a history breaks a promise without the guard, and none with it."""
        with self.applied():
            broken = bool(simulate(seed).violations)
        return broken and not simulate(seed).violations


_MUTATIONS: list[Mutation] = []


def instead_of(owner: Any, attribute: str, near: int = 0) -> Callable[[_Replacement], _Replacement]:
    """Make a mutation of the function that is decorated: it takes the place of *attribute*."""

    def add(replacement: _Replacement) -> _Replacement:
        name = replacement.__name__.strip("_").replace("_", " ")
        is_property = isinstance(vars(owner).get(attribute), property)
        new = property(replacement) if is_property else replacement
        _MUTATIONS.append(Mutation(name, owner, attribute, new, near))
        return replacement

    return add


def every() -> list[Mutation]:
    """Return all mutations."""
    return list(_MUTATIONS)


def first_seed(number: int, seeds: range | None = None) -> int | None:
    """Return the first of *seeds* whose history sees that a guard is missing.

    Without *seeds* it is looked for from where it was once, and not for long.
    """
    logging.disable()
    mutation = _MUTATIONS[number]
    tried = seeds or range(mutation.near, mutation.near + MOST_SEEDS)
    return next((seed for seed in tried if mutation.is_seen(seed)), None)
