"""
Whether a value comes back from JSON as it was: equal, and of its type.

`plain` answers at once for what JSON has. For everything else the value that was written is read
back and the two are compared: `difference` tells where they part, never what they hold, because
the text of an error may be logged and an event may hold a prompt.
"""

import dataclasses
from collections import deque
from collections.abc import Iterable
from datetime import datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

#: Larger integers are looked at one by one: readers of JSON take up to 4,300 digits.
_LARGE = 10**18
#: Lists in lists that are known to be read again; parsers take up to 200.
_DEPTH = 100
#: Characters of a dictionary's key that a path shows.
_KEY_LENGTH = 40

SECRETS = (SecretStr, SecretBytes, Secret)


class Difference(NamedTuple):
    """Where a value comes back as another."""

    #: `field.name.0`; empty for the value itself.
    path: str
    #: What becomes of it, and the way out.
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


def plain(value: Any, depth: int = _DEPTH) -> bool:
    """Tell whether *value* is surely read from JSON as it is written."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int or kind is float:
        # Also not of NaN and infinity.
        return bool(-_LARGE < value < _LARGE)
    if kind is list:
        return depth > 0 and all(plain(each, depth - 1) for each in value)
    if kind is not dict:
        return False
    keys_are_text = all(type(key) is str for key in value)
    return keys_are_text and depth > 0 and all(plain(value[key], depth - 1) for key in value)


def difference(before: Any, after: Any, path: str = "") -> Difference | None:
    """Return the first difference between a value and what is read of it, or None."""
    kind = type(before)
    if kind is not type(after):
        return Difference(path, _other_type(before, after))
    if issubclass(kind, BaseModel):
        return _of_models(before, after, path)
    if issubclass(kind, dict):
        return _of_dicts(before, after, path)
    if issubclass(kind, list | tuple | deque):
        return _of_lists(before, after, path)
    if issubclass(kind, set | frozenset):
        before, after = _typed(before), _typed(after)
    elif dataclasses.is_dataclass(kind):
        names = [each.name for each in dataclasses.fields(before)]
        return _first(
            difference(getattr(before, name, None), getattr(after, name, None), _at(path, name))
            for name in names
        )
    try:
        equal = _equal(before, after)
    except Exception:  # noqa: BLE001 - the boundary: a value's own comparison
        equal = False
    return None if equal else Difference(path, _CHANGED)


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
        f"{_a(before)} would come back as {_a(after)}; declare the type (a field, "
        "Workflow[...]), or put in what JSON has: text, numbers, lists, dictionaries"
    )


def _of_models(before: BaseModel, after: BaseModel, path: str) -> Difference | None:
    fields = type(before).model_fields
    found = _first(
        difference(before.__dict__.get(name), after.__dict__.get(name), _at(path, name))
        if (name in before.__dict__) == (name in after.__dict__)
        else Difference(_at(path, name), _CHANGED)
        for name in fields
    )
    if found is not None:
        name = found.path.removeprefix(path).lstrip(".").split(".")[0]
        excluded = name in fields and fields[name].exclude
        return _excluded(found.path) if excluded else found
    extra = _of_dicts(before.__pydantic_extra__ or {}, after.__pydantic_extra__ or {}, path)
    return extra or _of_private(before, after, path)


def _excluded(path: str) -> Difference:
    return Difference(
        path, "the field is not written (exclude=True), so its value would be lost; write it"
    )


def _of_private(before: BaseModel, after: BaseModel, path: str) -> Difference | None:
    one, other = before.__pydantic_private__ or {}, after.__pydantic_private__ or {}
    for name in one:
        if name not in other or difference(one[name], other[name]) is not None:
            return Difference(
                _at(path, name),
                "private attributes are not written, so its value would be lost; make it a field",
            )
    return None


def _of_dicts(before: dict[Any, Any], after: dict[Any, Any], path: str) -> Difference | None:
    changed = [key for key in before if type(key) is not str]
    if changed:
        kept = _typed(after)
        changed = [key for key in changed if (type(key), key) not in kept]
    if changed:
        return Difference(
            path,
            f"a key of type {_name(changed[0])} would come back as another, because keys are text "
            "in JSON; use text, or a list of pairs",
        )
    if len(before) != len(after) or any(key not in after for key in before):
        return Difference(path, _CHANGED)
    return _first(difference(before[key], after[key], _at(path, key)) for key in before)


def _of_lists(before: Any, after: Any, path: str) -> Difference | None:
    if len(before) != len(after):
        return Difference(path, _CHANGED)
    pairs = enumerate(zip(before, after, strict=True))
    return _first(difference(one, other, _at(path, index)) for index, (one, other) in pairs)


def _first(found: Iterable[Difference | None]) -> Difference | None:
    return next((each for each in found if each is not None), None)


def _typed(members: Iterable[Any]) -> set[tuple[type, Any]]:
    """Return members with their types: 1, 1.0 and True are one otherwise."""
    return {(type(each), each) for each in members}


def _equal(before: Any, after: Any) -> bool:
    if isinstance(before, float | complex | Decimal):
        # NaN is NaN, 0 is not -0 and 1.50 is not 1.5.
        return repr(before) == repr(after)
    if isinstance(before, datetime):
        # Not ==, which has no two zones equal in the hour that the clocks turn back.
        return before.utcoffset() == after.utcoffset() and _naive(before) == _naive(after)
    if isinstance(before, time) and (before.tzinfo is None) != (after.tzinfo is None):
        return False
    if isinstance(before, Enum):
        return before is after
    if _has_no_equality(type(before)) and hasattr(before, "__dict__"):
        return difference(vars(before), vars(after)) is None
    return bool(before == after)


def _has_no_equality(kind: type) -> bool:
    return all("__eq__" not in vars(each) for each in kind.__mro__[:-1])


def _naive(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None, fold=0)


def _name(value: Any) -> str:
    return type(value).__name__


def _a(value: Any) -> str:
    name = _name(value)
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def _at(path: str, part: Any) -> str:
    # Characters that have no UTF-8 or are not for the eye come out escaped.
    shown = str(part) if str(part).isprintable() else ascii(part)
    return f"{path}.{shown[:_KEY_LENGTH]}" if path else shown[:_KEY_LENGTH]
