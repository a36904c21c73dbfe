"""The state of a run whose steps name no model: a DictState of what JSON has."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json, to_json

from fleet.records import values
from fleet.workflow.context_state import leaves
from fleet.workflow.context_state.dict_state import DictState
from fleet.workflow.errors import ContextStateError


class Untyped:
    """See `fleet.workflow.context_state.state_type`."""

    needs_all = False
    #: It has no defaults.
    filled: frozenset[str] = frozenset()

    def made(self, stored: Mapping[str, Any]) -> DictState:
        """Return a DictState of *stored*."""
        return DictState(**stored)

    def names(self, state: DictState) -> Iterable[str]:
        """Return the names of the values that a state has."""
        return list(state)

    def unsure(self, state: DictState, names: Iterable[str]) -> set[str]:
        """Return none: it holds what JSON has."""
        return set()

    def leaves(self, state: DictState, names: Iterable[str] | None = None) -> dict[str, bytes]:
        """Return the leaves of a state by path, or those under *names*."""
        found = {}
        for name in list(state if names is None else names):
            leaves.check_name(name)
            for path, leaf in leaves.split(name, state[name], state[name]):
                found[path] = leaves.encoded(path, checked(path, leaf))
        return found

    def replaced(self, current: DictState, given: Any) -> DictState:
        """Return *given* as a DictState."""
        if not isinstance(given, Mapping):
            raise ContextStateError(
                f"the state is a DictState or a dictionary, not a {type(given).__name__}; to keep "
                "a model, let the steps name it: `ctx: Context[MyState]`"
            )
        return DictState(**deepcopy(dict(given)))


def checked(path: str, value: Any) -> Any:
    """Return *value* if it comes back from JSON as it is; raise ContextStateError."""
    if values.plain(value):
        return value
    try:
        changed = values.difference(value, from_json(to_json(value)))
    except ValueError as failure:
        raise leaves.unkept(path, str(failure)) from None
    if changed is not None:
        raise ContextStateError(_kept_otherwise(path, value, changed))
    return value


def _kept_otherwise(path: str, value: Any, changed: values.Difference) -> str:
    at = f"{path}.{changed.path}" if changed.path else path
    what, _, instead = changed.reason.partition("; ")
    if isinstance(value, BaseModel):
        kind = type(value).__name__
        instead = (
            f"set `value.model_dump(mode='json')` and read it with `{kind}.model_validate(...)`, "
            "or make it a field of a model that the steps name: `ctx: Context[MyState]`"
        )
    elif not isinstance(value, values.SECRETS):
        instead = leaves.JSON_HAS
    return f"the value at {at!r} cannot be kept: {what}; {instead}"
