"""Values that a workflow object is given in the place of its resources: `Flow(resources={...})`."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from fleet.workflow.resources import providers
from fleet.workflow.resources.declared import BadResource
from fleet.workflow.resources.providers import Provider


def checked(
    given: Mapping[Any, Any] | None, needed: Iterable[Provider], workflow: str
) -> dict[Hashable, Any]:
    """Return the values by what they stand for: a factory, or the model of a file.

    Raises BadResource if no step of *workflow* takes one of them.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise BadResource(
            f"{workflow}(resources=...) takes a dict, not {type(given).__name__}: write e.g. "
            "resources={get_db: FakeDatabase()}"
        )
    known = {one.source: one.name for need in needed for one in providers.every(need)}
    values = {providers.identity(source): value for source, value in given.items()}
    for source, asked in zip(values, given, strict=True):
        if source not in known:
            names = ", ".join(sorted(set(known.values()))) or "none"
            raise BadResource(
                f"{workflow}(resources=...) has a value for {providers.name_of(asked)}, which no "
                f"step needs (its resources: {names})"
            )
    return values
