"""A value inside JSON, by the names and list positions that lead to it."""

import re
from collections.abc import Iterable
from typing import Any, Final

#: What `descend` returns if nothing is there: None is a value.
MISSING: Final = object()
#: The digits of ASCII, not those of other scripts; no list is longer than 18 digits say.
_POSITION = re.compile(r"[0-9]{1,18}")


def descend(value: Any, path: Iterable[str]) -> Any:
    """Return what *path* leads to from *value*, or MISSING."""
    for name in path:
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and _POSITION.fullmatch(name) and int(name) < len(value):
            value = value[int(name)]
        else:
            return MISSING
    return value
