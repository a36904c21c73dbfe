"""The lines of a broker's log: the last ones, new ones, and those that explain a failed start."""

import os
import re
import time
from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO

from fleet.dev.kafka.folder import Folder

POLL_SECONDS = 0.2
#: How many lines explain a failed start.
EVIDENCE_LINES = 5
#: An error, or the head of an exception that the line before announced. Not its stack.
_TROUBLE = re.compile(r"\S+ (ERROR|FATAL) |(Caused by: )?([\w$]+\.)+[\w$]*(Exception|Error)\b")


def last(folder: Folder, lines: int) -> list[str]:
    """Return the last *lines* of Kafka's log and the Java runtime's own output."""
    return list(deque(chain(_lines(folder.server_log), _lines(folder.java_log)), maxlen=lines))


def evidence(folder: Folder, begin: int) -> list[str]:
    """Return the lines from byte *begin* that explain a failed start: errors, or the last lines."""
    said = [*_lines(folder.server_log, begin), *_lines(folder.java_log)]
    trouble = dict.fromkeys(line for line in said if _TROUBLE.match(line))
    return list(trouble)[:EVIDENCE_LINES] or said[-EVIDENCE_LINES:]


def follow(file: Path, lines: int) -> Iterator[str]:
    """Yield the last *lines* of a log, then each new line, across rotations; never end."""
    with file.open(errors="replace") as current:
        yield from (line.rstrip("\n") for line in deque(current, maxlen=lines))
        yield from _grown(file, current)
    while True:
        with file.open(errors="replace") as current:
            yield from _grown(file, current)


def _grown(file: Path, current: TextIO) -> Iterator[str]:
    """Yield lines that are added to the open file, until another file has its name."""
    begun = ""
    while True:
        is_old = _is_replaced(file, current)
        for line in current:
            begun += line
            if begun.endswith("\n"):
                yield begun.rstrip("\n")
                begun = ""
        if is_old:
            return
        time.sleep(POLL_SECONDS)


def _is_replaced(file: Path, current: TextIO) -> bool:
    try:
        return not os.path.samestat(file.stat(), os.fstat(current.fileno()))
    # Between two files, in a rotation.
    except FileNotFoundError:
        return False


def _lines(file: Path, begin: int = 0) -> list[str]:
    if not file.exists():
        return []
    content = file.read_bytes()
    # A file that is smaller than it was is a new one.
    return content[begin if begin <= len(content) else 0 :].decode(errors="replace").splitlines()
