"""
The input of a bulk run: one JSON object per line, the fields of a start event and perhaps an `id`.

An item has the same name at every reading, so a repeated command finds its own runs. The name is
the item's `id`, else a digest of its fields. It is not the line number: a new line at the top would
start all runs again.
"""

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from fleet.records import limits
from fleet.records.errors import ExitCode, FleetError
from fleet.records.events import Event, UnencodableEvent, encoded
from fleet.workflow import definition
from fleet.workflow.errors import WorkflowConfigurationError
from fleet.workflow.workflow import Workflow

#: How many bad lines to list; a file of the wrong kind has no other lines.
_LISTED = 20
_DIGEST_BYTES = 8
#: NUL and surrogates: JSON can write them, a run id cannot hold them.
_ILLEGAL = re.compile("[\0\ud800-\udfff]")
_BOM = b"\xef\xbb\xbf"


class InputRefused(FleetError):
    """Raised when lines of the input are no start events. Nothing was started.

    What to do: Correct the lines that the message lists, and repeat the command. Nothing was
    started.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, path: Path, bad: list["BadLine"], more: int) -> None:
        listed = "\n".join(f"  {line}" for line in bad)
        rest = f"\n  and {more:,} more" if more else ""
        count = len(bad) + more
        lines = "1 bad line" if count == 1 else f"{count:,} bad lines"
        super().__init__(
            f"{lines} in {path}, so nothing was started; a line is a JSON object with the start "
            f"event's fields, and an `id` if you like:\n{listed}{rest}"
        )


class BadLine(FleetError):
    """Raised when one line is no item.

    What to do: Correct the line that the message names: a JSON object with the start event's
    fields.
    """

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"line {number}: {reason}")


@dataclass(frozen=True, slots=True)
class Item:
    """One line: a run to make."""

    #: In the file as it is now, counted from 1.
    line: int
    #: The `id` of the line, which goes into the output as it is; text if the line has none.
    id: str | int
    event: Event
    #: Of the fields.
    digest: str

    @property
    def key(self) -> str:
        """The id as text."""
        return str(self.id)

    def run_id(self, name: str | None, attempt: int) -> str:
        """Return the id of the run of *attempt* (counted from 1).

        It contains the digest of the fields. So ids such as 1, 2, 3 in another file are other runs,
        and so is a line that you changed.
        """
        own = self.key if self.digest in self.key else f"{self.key}-{self.digest}"
        named = f"{name}-{own}" if name else own
        return named if attempt == 1 else f"{named}#{attempt}"


def items(path: Path, workflow: type[Workflow]) -> Iterator[Item]:
    """Yield the items in the order of the file; raise BadLine at the first bad one."""
    seen: Counter[bytes] = Counter()
    for number, line in _lines(path):
        yield _item(number, line, workflow, seen)


def check(path: Path, workflow: type[Workflow], name: str | None = None) -> Collection[str]:
    """Return the keys of all items; raise InputRefused if a line gives no item or no run id.

    *name* is the first part of each run's id.
    """
    seen: Counter[bytes] = Counter()
    lines_by_key: dict[str, int] = {}
    bad: list[BadLine] = []
    more = 0
    for number, line in _lines(path):
        try:
            item = _item(number, line, workflow, seen)
            _keep(item, lines_by_key)
            _check_run_id(item, name)
        except BadLine as wrong:
            more += len(bad) == _LISTED
            bad += [wrong] if len(bad) < _LISTED else []
    if bad:
        raise InputRefused(path, bad, more)
    return lines_by_key.keys()


def _keep(item: Item, lines_by_key: dict[str, int]) -> None:
    first = lines_by_key.setdefault(item.key, item.line)
    if first != item.line:
        raise BadLine(item.line, f"its id {item.key!r} is that of line {first}")


def _check_run_id(item: Item, name: str | None) -> None:
    if problem := limits.run_id_problem(item.run_id(name, 1)):
        raise BadLine(item.line, problem)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, with their numbers."""
    with path.open("rb") as file:
        for number, line in enumerate(itertools.chain([file.readline().removeprefix(_BOM)], file)):
            if line.strip():
                yield number + 1, line


def _item(number: int, line: bytes, workflow: type[Workflow], seen: Counter[bytes]) -> Item:
    fields = _fields(number, line)
    given = fields.get("id")
    # A start event with a field `id` gets it, too.
    if "id" in fields and "id" not in definition.graph(workflow).start.model_fields:
        del fields["id"]
    digest = _digest(fields)
    seen[digest] += 1
    text = digest.hex()
    own = text if seen[digest] == 1 else f"{text}-{seen[digest]}"
    try:
        event = definition.start_event(workflow, None, fields)
        encoded(event)
    except (WorkflowConfigurationError, UnencodableEvent) as refused:
        raise BadLine(number, str(refused)) from None
    return Item(number, own if given is None else _id(number, given), event, text)


def _fields(number: int, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode(), parse_constant=_refuse)
    except ValueError as failure:
        raise BadLine(number, f"not JSON: {failure}") from None
    if not isinstance(value, dict):
        raise BadLine(number, f"a JSON {_kind(value)} and not an object")
    return value


def _id(number: int, given: object) -> str | int:
    if not isinstance(given, int | str) or isinstance(given, bool):
        raise BadLine(number, f"its id {given!r} is neither text nor a whole number")
    if given == "" or _ILLEGAL.search(str(given)):
        raise BadLine(number, f"its id {given!r} cannot be part of a run's id; use other text")
    return given


def _digest(fields: dict[str, Any]) -> bytes:
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.blake2b(canonical, digest_size=_DIGEST_BYTES).digest()


def _kind(value: object) -> str:
    kinds = {list: "list", str: "text", bool: "truth value", type(None): "null"}
    return kinds.get(type(value), "number")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"JSON has no {constant}")
