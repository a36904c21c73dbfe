"""
The attributes of an exception, as data: what callers look at to decide, such as `code` or `errno`.

Only plain JSON values travel, a bounded number of bytes of them, and nothing whose name says that
it is a secret. An HTTP response, as clients of models put it on their errors, travels as its status
and its text, without headers. At the caller no code of the exception's type runs: a record must not
choose what happens here.
"""

import json
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from types import MemberDescriptorType, SimpleNamespace
from typing import Any

#: Attributes of one exception, characters of one text, and of all of them as JSON.
_MOST = 20
_TEXT_LENGTH = 2_000
_TOTAL_LENGTH = 16_000
_NAME_LENGTH = 100
#: Items of one list or dictionary, and how deep they may be nested.
_ITEMS = 50
_DEPTH = 4
_LARGEST_NUMBER = 2**63
_SECRET = re.compile(
    r"auth(?!ors?$)|api_?key|cookie|credential|headers?$|hdrs|passw|passphrase|private|secret|session"
    r"|signature|token(?!s)",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"(?i)((?:bearer|basic)\s+)\S+|(://[^\s:/@]*:)[^\s@/]+(?=@)|\b(sk|pk|rk)-[\w-]{12,}"
)
#: What the engine writes, or says with the exception itself.
_OURS = frozenset({"args", "with_traceback", "add_note"})
#: Marks a response among the values.
_RESPONSE = "fleet-response"


def read(error: BaseException) -> dict[str, Any]:
    """Return those attributes of *error* that may travel; runs none of its code."""
    found: dict[str, Any] = {}
    left = _TOTAL_LENGTH
    for name, value in _attributes(error):
        plain = _plain(value, _DEPTH) if len(found) < _MOST else _NOTHING
        if plain is _NOTHING:
            continue
        length = len(name) + len(json.dumps(plain))
        if length <= left:
            found[name] = plain
            left -= length
    return found


def write(error: BaseException, attributes: Mapping[str, Any]) -> None:
    """Give *error* what `read` has returned; what its type does not let be set is left out."""
    members = dict(_members(type(error)))
    for name, value in attributes.items():
        if not _may_travel(name):
            continue
        revived = _revived(value)
        if name in members:
            _set(members[name], error, revived)
        elif name not in dir(BaseException):
            # Not setattr: a property or a __setattr__ is code.
            vars(error)[name] = revived


def _attributes(error: BaseException) -> Iterator[tuple[str, Any]]:
    for name, value in list(object.__getattribute__(error, "__dict__").items()):
        if _may_travel(name):
            yield name, value
    for name, member in _members(type(error)):
        try:
            value = member.__get__(error, type(error))
        except AttributeError:
            continue
        # An OSError without a file says so when its `filename` is None.
        if value is not None:
            yield name, value


def _members(kind: type[BaseException]) -> Iterator[tuple[str, MemberDescriptorType]]:
    """Yield what is kept outside of `__dict__`: `errno` of an OSError, and `__slots__`."""
    for item in kind.__mro__:
        if item is not BaseException and issubclass(item, BaseException):
            for name, member in vars(item).items():
                if isinstance(member, MemberDescriptorType) and _may_travel(name):
                    yield name, member


def _may_travel(name: object) -> bool:
    return (
        isinstance(name, str)
        and name.isidentifier()
        and len(name) <= _NAME_LENGTH
        and not name.startswith("_")
        and name not in _OURS
        and not _SECRET.search(name)
    )


class _Nothing:
    """Stands for a value that does not travel."""


_NOTHING = _Nothing()


def _plain(value: Any, depth: int) -> Any:
    kind = type(value)
    found: Any = _NOTHING
    if value is None or kind is bool:
        found = value
    elif kind in (int, float):
        # Neither NaN nor infinite.
        found = value if abs(value) < _LARGEST_NUMBER else _NOTHING
    elif kind is str:
        found = _text(value)
    elif kind in (list, tuple, dict):
        short = depth and len(value) <= _ITEMS
        several = _items if kind is dict else _list
        found = several(value, depth - 1) if short else _NOTHING
    elif issubclass(kind, Enum):
        found = _plain(vars(value).get("_value_", _NOTHING), depth)
    else:
        found = _response(value, kind)
    return found


def _list(value: Any, depth: int) -> Any:
    items = [_plain(item, depth) for item in value]
    return _NOTHING if any(item is _NOTHING for item in items) else items


def _items(value: dict[Any, Any], depth: int) -> dict[str, Any]:
    found = {
        key: _plain(item, depth)
        for key, item in value.items()
        if type(key) is str and not _SECRET.search(key)
    }
    return {_text(key): item for key, item in found.items() if item is not _NOTHING}


def _text(value: str) -> str:
    hidden = _SECRET_TEXT.sub(lambda match: f"{match[1] or match[2] or ''}[hidden]", value)
    return hidden[:_TEXT_LENGTH].encode(errors="replace").decode()


def _response(value: Any, kind: type) -> Any:
    """Return status and text of an HTTP response of httpx or requests."""
    if kind.__name__ != "Response" or kind.__module__.partition(".")[0] not in _CLIENTS:
        return _NOTHING
    try:
        # One that was not read raises.
        status, text = value.status_code, value.text
    except Exception:  # noqa: BLE001 - then there is nothing to tell
        return _NOTHING
    if type(status) is not int or type(text) is not str:
        return _NOTHING
    return {_RESPONSE: {"status_code": status, "text": _text(text)}}


_CLIENTS = frozenset({"httpx", "httpx2", "requests"})


def _revived(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {_RESPONSE} and type(value[_RESPONSE]) is dict:
        told = value[_RESPONSE]
        return SimpleNamespace(status_code=told.get("status_code"), text=told.get("text"))
    return value


def _set(member: MemberDescriptorType, error: BaseException, value: Any) -> None:
    try:
        member.__set__(error, value)
    except (AttributeError, TypeError):
        # Read-only, or of another type.
        return
