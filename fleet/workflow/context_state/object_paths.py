"""A value inside a state object, by the names and list positions that lead to it."""

from typing import Any

from pydantic import BaseModel, ValidationError

from fleet.records import paths
from fleet.records.events import problems
from fleet.workflow.errors import ContextStateError


def has(value: Any, parts: list[str]) -> bool:
    """Tell whether *parts* lead anywhere from *value*."""
    return descend(value, parts) is not paths.MISSING


def descend(value: Any, parts: list[str]) -> Any:
    """Return what *parts* lead to from *value*, or MISSING."""
    for depth, name in enumerate(parts):
        if not isinstance(value, BaseModel):
            rest = parts[depth:]
            return _descend_plain(value, rest)
        if not _has(value, name):
            return paths.MISSING
        value = getattr(value, name)
    return value


def _descend_plain(value: Any, parts: list[str]) -> Any:
    found = paths.descend(value, parts[:1])
    if found is paths.MISSING or len(parts) == 1:
        return found
    return descend(found, parts[1:])


def assign(state: Any, parts: list[str], value: Any) -> None:
    """Let *parts* lead to *value*; dictionaries on the way are made.

    Raises ContextStateError if a part leads nowhere.
    """
    into = state
    for depth, name in enumerate(parts[:-1]):
        found = descend(into, [name])
        if found is paths.MISSING:
            found = {}
            _set(into, parts[: depth + 1], found)
        into = found
    _set(into, parts, value)


def remove(state: Any, parts: list[str]) -> None:
    """Remove what *parts* lead to, if there is anything; a field of a model cannot be removed."""
    holder = descend(state, parts[:-1])
    if isinstance(holder, BaseModel) and parts[-1] in type(holder).model_fields:
        raise ContextStateError(
            f"{'.'.join(parts)!r} cannot be deleted: it is a field of {type(holder).__name__}; "
            "set it to another value"
        )
    if isinstance(holder, dict):
        holder.pop(parts[-1], None)


def _has(model: BaseModel, name: str) -> bool:
    kind = type(model)
    return (
        name in kind.model_fields
        or name in (model.__pydantic_extra__ or ())
        or name in kind.model_computed_fields
        or isinstance(getattr(kind, name, None), property)
    )


def _set(into: Any, parts: list[str], value: Any) -> None:
    path, name = ".".join(parts), parts[-1]
    if isinstance(into, BaseModel):
        _set_field(into, path, name, value)
    elif isinstance(into, dict):
        into[name] = value
    elif isinstance(into, list) and paths.descend(into, [name]) is not paths.MISSING:
        into[int(name)] = value
    else:
        above = ".".join(parts[:-1])
        raise ContextStateError(
            f"{path!r} cannot be set: {above!r} holds a {type(into).__name__} that has no {name}; "
            "set it as a whole, or use another path"
        )


def _set_field(model: BaseModel, path: str, name: str, value: Any) -> None:
    kind = type(model)
    if name not in kind.model_fields and kind.model_config.get("extra") != "allow":
        raise ContextStateError(
            f"{path!r} cannot be set: {kind.__name__} has no field {name}; it has "
            f"{', '.join(kind.model_fields) or 'none'}"
        )
    try:
        setattr(model, name, value)
    except ValidationError as failure:
        raise ContextStateError(f"{path!r} cannot be set: {problems(failure)}") from None
