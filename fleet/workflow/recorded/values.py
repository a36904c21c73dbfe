"""
What a function gave, as a record: JSON that comes back equal and of its type.

The type is what the function's annotation says. Without one it is that of a model or a dataclass
that can be found by its name, and else JSON's own. Nothing is imported to read a record: a record
must not choose what code runs.
"""

import dataclasses
import functools
import sys
import typing
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from pydantic import BaseModel, PydanticUserError, ValidationError, create_model
from pydantic_core import from_json

from fleet.records.events import (
    Event,
    UndecodableEvent,
    UnencodableEvent,
    decoded,
    encoded,
    problems,
)
from fleet.workflow.errors import WorkflowRuntimeError

#: What a plain function that returns a coroutine may say.
_AWAITED = (Awaitable, Coroutine)


class UnrecordedValue(WorkflowRuntimeError):
    """Raised by `ctx.memo` for a value that would not come back equal and of its type.

    What to do: Annotate what the function returns, `async def fetch() -> Report`, or return what
    JSON has. The call was made, and nothing was recorded.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(
            f"ctx.memo({key!r}) cannot record what its function returned: {reason}. Annotate what "
            "the function returns, or return what JSON has"
        )


class UnreadableRecord(WorkflowRuntimeError):
    """Raised by `ctx.memo` for a recorded value that is not of the type it is read as.

    What to do: Use another key for a function that returns something else. `fleet dead redrive
    --fresh` drops what is recorded.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(
            f"what is recorded for ctx.memo({key!r}) cannot be read: {reason}; use another key "
            "for a function that returns something else, or drop what is recorded with "
            "`fleet dead redrive --fresh`"
        )


class _Recorded(Event):
    """A value and the name of its type; configured as events are."""

    #: `module:Class` of a value whose function has no annotation; else empty.
    type: str = ""


def written(key: str, value: Any, function: Callable[[], Any]) -> bytes:
    """Return what *function* gave as a record; raise UnrecordedValue."""
    stated = _stated(function)
    kind, name = (stated, "") if stated is not None else _own_type(value)
    try:
        made = _model(kind)(type=name, value=value)
        return encoded(made)
    except UnencodableEvent as failure:
        raise UnrecordedValue(key, failure.reason) from None
    except PydanticUserError as unknown:
        raise UnrecordedValue(key, str(unknown).splitlines()[0]) from None
    except ValidationError as failure:
        raise UnrecordedValue(key, problems(failure)) from None


def read(key: str, record: bytes, function: Callable[[], Any]) -> Any:
    """Return the value of a record; raise UnreadableRecord."""
    kind = _stated(function)
    if kind is None:
        kind = _named(key, from_json(record)["type"])
    try:
        return decoded(_model(kind), record).value
    except UndecodableEvent as failure:
        raise UnreadableRecord(key, failure.reason) from None


def _stated(function: Callable[[], Any]) -> Any:
    """Return the type that a function's annotation says it gives; None if it says nothing."""
    while isinstance(function, functools.partial):
        function = function.func
    try:
        hint = typing.get_type_hints(function, include_extras=True).get("return", Any)
    except Exception:  # noqa: BLE001 - the boundary: names that mean nothing here
        return None
    if typing.get_origin(hint) in _AWAITED:
        hint = typing.get_args(hint)[-1]
    return None if hint is Any or isinstance(hint, typing.TypeVar) else hint


def _own_type(value: Any) -> tuple[Any, str]:
    """Return the type of a value and its name, if it is one that can be found by its name."""
    kind = type(value)
    if not issubclass(kind, BaseModel) and not dataclasses.is_dataclass(kind):
        return Any, ""
    name = f"{kind.__module__}:{kind.__qualname__}"
    return (kind, name) if _found(name) is kind else (Any, "")


def _named(key: str, name: str) -> Any:
    if not name:
        return Any
    kind = _found(name)
    if kind is None:
        raise UnreadableRecord(key, f"it is a {name}, which this process has not imported")
    return kind


def _found(name: str) -> Any:
    """Return the class of a name, if this process has imported it."""
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) else None


def _model(kind: Any) -> Any:
    try:
        return _cached_model(kind)
    except TypeError:
        # It has no hash.
        return _made_model(kind)


def _made_model(kind: Any) -> type[_Recorded]:
    return create_model("Recorded", __base__=_Recorded, value=(kind, ...))


@functools.lru_cache(256)
def _cached_model(kind: Any) -> type[_Recorded]:
    return _made_model(kind)
