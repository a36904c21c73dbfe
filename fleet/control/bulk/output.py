"""
The output of a bulk run: one JSON object per line, appended as runs end.

It records what is done: a repeated command skips items with a result in it. So one command at a
time writes to it, with one write per line. If a kill cut a line, the next command removes its rest.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydantic_core import from_json, to_json, to_jsonable_python

from fleet.control.bulk.input import Item
from fleet.records.errors import ExitCode, FleetError

#: The beginning of every line.
_BEGIN = b'{"id": '


class OutputTaken(FleetError):
    """Raised when another command writes to the output.

    What to do: Wait for the other command's end, or name another file with `--output`.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"another command is writing to {path}; wait for its end, or use another --output"
        )


class OutputRefused(FleetError):
    """Raised when a bulk run has not written the file, or cannot write to it.

    What to do: Name another file with `--output`.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(f"{path} cannot be the output: {reason}; use another --output")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an item has no result."""

    type: str
    message: str
    #: False if the command heard of no end; the run may still be running.
    ended: bool


class Results:
    """The open output; `opened` creates it."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        #: Keys of the items that have a result.
        self.done: set[str] = set()
        #: By key: how many runs of the item have ended without a result.
        self._failed_attempts: dict[str, int] = {}

    def read(self) -> None:
        """Read the file, and fix its last line; raise OutputRefused if it is no bulk output."""
        end, last = 0, b"\n"
        with self._path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if _is_torn(line):
                    break
                self._note(number, line)
                end, last = end + len(line), line
        # A kill cut this line. Its run's id leads to the same result again.
        self._file.truncate(end)
        if not last.endswith(b"\n"):
            self._file.write(b"\n")

    def next_attempt(self, item: Item) -> int:
        """Return the next attempt of *item*, counted from 1."""
        return self._failed_attempts.get(item.key, 0) + 1

    def append_result(self, item: Item, run_id: str, result: Any) -> None:
        """Append a result."""
        self._append(item, run_id, {"result": _jsonable(result)})
        self.done.add(item.key)

    def append_failure(self, item: Item, run_id: str, failure: Failure) -> None:
        """Append why an item has no result."""
        told = {"type": failure.type, "message": failure.message, "ended": failure.ended}
        self._append(item, run_id, {"error": told})

    def _append(self, item: Item, run_id: str, outcome: dict[str, Any]) -> None:
        line = {"id": item.id, "line": item.line, **outcome, "run_id": run_id}
        text = json.dumps(line, ensure_ascii=False) + "\n"
        # JSON writes surrogates as `backslashreplace` does; UTF-8 has none.
        data = text.encode(errors="backslashreplace")
        try:
            written = self._file.write(data)
        except OSError as failure:
            raise OutputRefused(self._path, failure.strerror) from failure
        if written != len(data):
            raise OutputRefused(self._path, "there is no space left for it")

    def _note(self, number: int, line: bytes) -> None:
        try:
            known = json.loads(line)
            key = str(known["id"])
            if "result" in known:
                self.done.add(key)
            elif known["error"]["ended"]:
                self._failed_attempts[key] = self._failed_attempts.get(key, 0) + 1
        except (ValueError, LookupError, TypeError):
            raise OutputRefused(self._path, f"line {number} is no result of a bulk run") from None


@contextmanager
def opened(path: Path) -> Iterator[Results]:
    """Open the output *path* for this command alone, and read what is there.

    Raises OutputTaken and OutputRefused.
    """
    if path.exists() and not path.is_file():
        raise OutputRefused(path, "it is no regular file")
    try:
        # Not buffered: an appended line is in the file, even if the command is killed next.
        file = path.open("a+b", buffering=0)
    except OSError as failure:
        raise OutputRefused(path, failure.strerror) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputTaken(path) from None
        results = Results(file, path)
        results.read()
        yield results


def _is_torn(line: bytes) -> bool:
    """Tell whether *line* is one of ours without its end."""
    return line[: len(_BEGIN)] == _BEGIN[: len(line)] and not (
        line.endswith(b"\n") or _is_json(line)
    )


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _jsonable(result: Any) -> Any:
    """Return a result in JSON's types: NaN and bytes as in events."""
    try:
        return from_json(to_json(result, inf_nan_mode="strings", bytes_mode="base64"))
    except ValueError:
        # It has surrogates, which the line can hold.
        return to_jsonable_python(result)
