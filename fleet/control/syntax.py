"""What operators write on the command line, read: places in the log, and fields of events."""

import json
import re
from typing import Any, NoReturn

#: Kafka counts partitions in 32 bits and offsets in 64.
_MOST_PARTITION, _MOST_OFFSET = 2**31 - 1, 2**63 - 1
_PLACE = re.compile(r"(?:([0-9]{1,10}):)?([0-9]{1,19})")


def place(text: str) -> tuple[int | None, int] | None:
    """Return the partition and the offset of `PARTITION:OFFSET` or `OFFSET`, or None.

    A number has ASCII digits and nothing else, and is one that Kafka can have. Python's int() would
    take signs, spaces and the digits of other scripts.
    """
    found = _PLACE.fullmatch(text)
    if found is None:
        return None
    partition = int(found[1]) if found[1] else None
    offset = int(found[2])
    if offset > _MOST_OFFSET or (partition or 0) > _MOST_PARTITION:
        return None
    return partition, offset


def assignment(text: str) -> tuple[str, str, bool] | None:
    """Return the name and the value of `name=value` or `name:=JSON`, and whether it is JSON.

    None if it is neither.
    """
    key, equals, value = text.partition("=")
    name = key.removesuffix(":")
    return (name, value, name != key) if equals and name else None


def json_value(text: str) -> Any:
    """Read JSON; raise ValueError for what is none, NaN and Infinity included."""
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"JSON has no {constant}")
