"""
Whether a value comes back from JSON equal and of its type.

`plain` answers at once for JSON's own types. Of all others the written value is read back and
compared: `difference` names the place where they differ, never the value, because an error may be
logged and an event may hold a prompt.
"""

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

#: Larger integers are checked one by one: readers of JSON take up to 4,300 digits.
_LARGE = 10**18
#: Lists in lists to this depth can be read again; parsers take up to 200.
_DEPTH = 100
#: Characters of a dictionary's key that a path shows.
_KEY_LENGTH = 40

SECRETS = (SecretStr, SecretBytes, Secret)


class Difference(NamedTuple):
    """The place where a value comes back changed."""

    #: `field.name.0`; empty for the value itself.
    path: str
    #: How it changes, and the way out.
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


def plain(value: Any, depth: int = _DEPTH) -> bool:
    """Tell whether *value* surely comes back from JSON as it is."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int or kind is float:
        # False for NaN and infinity, too.
        return bool(-_LARGE < value < _LARGE)
    if kind is list:
        return depth > 0 and all(plain(member, depth - 1) for member in value)
    if kind is not dict:
        return False
    keys_are_text = all(type(key) is str for key in value)
    return keys_are_text and depth > 0 and all(plain(value[key], depth - 1) for key in value)


def difference(before: Any, after: Any) -> Difference | None:
    """Return the first difference between a value and the one read back, or None."""
    kind = type(before)
    if _name(after) == "ValidatorIterator":
        # pydantic reads an Iterable so, also one in a union.
        return Difference("", _ONCE)
    if kind is not type(after):
        return _of_types(before, after)
    if kind in _SIMPLE:
        return None if before == after else Difference("", _CHANGED)
    for family, compared in _FAMILIES:
        if issubclass(kind, family):
            return compared(before, after)
    if dataclasses.is_dataclass(kind):
        return _of_attributes(_attributes(before), _attributes(after))
    try:
        equal = _equal(before, after)
    except Exception:  # noqa: BLE001 - the boundary: a value's own comparison
        equal = False
    return None if equal else Difference("", _CHANGED)


def _of_types(before: Any, after: Any) -> Difference | None:
    if isinstance(before, BaseException) and isinstance(after, BaseException):
        # It travels as a description, of which another process may make an exception of ours.
        return None
    return Difference("", _other_type(before, after))


def _of_errors(before: BaseException, after: BaseException) -> None:
    """Find no difference: an exception travels as a description, with notes."""


def _inside(part: object, found: Difference) -> Difference:
    """Return a difference as seen from the value around it."""
    # Characters that UTF-8 lacks or that cannot be printed are escaped.
    shown = str(part) if str(part).isprintable() else ascii(part)
    rest = f".{found.path}" if found.path else ""
    return Difference(f"{shown[:_KEY_LENGTH]}{rest}", found.reason)


_ONCE = (
    "an Iterable is read only once; declare a list instead, and messages of the openai client as "
    "`list[dict[str, Any]]`"
)
_CHANGED = (
    "the value would come back changed; let validators and serializers leave a valid value as it "
    "is, or declare a type that JSON can carry"
)


def _other_type(before: Any, after: Any) -> str:
    if isinstance(before, SECRETS):
        return (
            f"{_a(before)} is masked when it is written, because topics are clear text; send "
            f"where the secret is kept, or declare a field `Annotated[{_name(before)}, ClearText]`"
        )
    if isinstance(before, BaseModel) and isinstance(after, BaseModel):
        return (
            f"{_a(before)} would come back as {_a(after)}; declare the field as "
            f"{_name(before)}, or as a union of both"
        )
    return (
        f"{_a(before)} would come back as {_a(after)}; use {_a(after)}, or declare the type (as "
        "a field's, or in Workflow[...])"
    )


def _of_models(before: BaseModel, after: BaseModel) -> Difference | None:
    fields = type(before).model_fields
    found = _of_attributes(
        {name: value for name, value in before.__dict__.items() if name in fields},
        {name: value for name, value in after.__dict__.items() if name in fields},
    )
    if found is not None:
        field = fields.get(found.path.split(".")[0])
        return Difference(found.path, _EXCLUDED) if field and field.exclude else found
    if before.__pydantic_extra__ or after.__pydantic_extra__:
        found = _of_dicts(before.__pydantic_extra__ or {}, after.__pydantic_extra__ or {})
    return found or _of_private(before, after)


_EXCLUDED = "the field is not written (exclude=True), so its value would be lost; write it"
_PRIVATE = "private attributes are not written, so its value would be lost; make it a field"


def _of_private(before: BaseModel, after: BaseModel) -> Difference | None:
    one, other = before.__pydantic_private__ or {}, after.__pydantic_private__ or {}
    for name in one:
        if name not in other or difference(one[name], other[name]) is not None:
            return Difference(name, _PRIVATE)
    return None


def _attributes(of: Any) -> dict[str, Any]:
    names = (field.name for field in dataclasses.fields(of))
    return {name: getattr(of, name) for name in names if hasattr(of, name)}


def _of_attributes(before: dict[str, Any], after: dict[str, Any]) -> Difference | None:
    for name, value in before.items():
        found = difference(value, after[name]) if name in after else Difference("", _CHANGED)
        if found is not None:
            return _inside(name, found)
    missing = next((name for name in after if name not in before), None)
    return Difference(missing, _CHANGED) if missing is not None else None


def _of_dicts(before: dict[Any, Any], after: dict[Any, Any]) -> Difference | None:
    changed = [key for key in before if type(key) is not str]
    if changed:
        kept = _typed(after)
        changed = [key for key in changed if (type(key), key) not in kept]
    if changed:
        return Difference(
            "",
            f"a key of type {_name(changed[0])} would come back as another, because keys are text "
            "in JSON; use text, or a list of pairs",
        )
    if len(before) != len(after):
        return Difference("", _CHANGED)
    return _of_attributes(before, after)


def _of_lists(before: Any, after: Any) -> Difference | None:
    if len(before) != len(after):
        return Difference("", _CHANGED)
    for index, (one, other) in enumerate(zip(before, after, strict=True)):
        found = difference(one, other)
        if found is not None:
            return _inside(index, found)
    return None


def _of_sets(before: Any, after: Any) -> Difference | None:
    return None if _typed(before) == _typed(after) else Difference("", _CHANGED)


_SIMPLE = frozenset({str, int, bool, bytes, type(None)})
_FAMILIES: tuple[tuple[Any, Callable[[Any, Any], Difference | None]], ...] = (
    (BaseModel, _of_models),
    (dict, _of_dicts),
    ((list, tuple, deque), _of_lists),
    ((set, frozenset), _of_sets),
    (BaseException, _of_errors),
)


def _typed(members: Iterable[Any]) -> set[tuple[type, Any]]:
    """Return members with their types: 1, 1.0 and True are one otherwise."""
    return {(type(member), member) for member in members}


def _equal(before: Any, after: Any) -> bool:
    if isinstance(before, float | complex | Decimal):
        # NaN is NaN, 0 is not -0 and 1.50 is not 1.5.
        return repr(before) == repr(after)
    if isinstance(before, datetime):
        # Not ==: two zones are never equal in the hour that the clocks turn back.
        return before.utcoffset() == after.utcoffset() and _naive(before) == _naive(after)
    if isinstance(before, time) and (before.tzinfo is None) != (after.tzinfo is None):
        return False
    if isinstance(before, Enum):
        return before is after
    if _has_no_equality(type(before)) and hasattr(before, "__dict__"):
        return difference(vars(before), vars(after)) is None
    return bool(before == after)


def _has_no_equality(kind: type) -> bool:
    return all("__eq__" not in vars(base) for base in kind.__mro__[:-1])


def _naive(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None, fold=0)


def _name(value: Any) -> str:
    return type(value).__name__


def _a(value: Any) -> str:
    name = _name(value)
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
