"""What a broker has said: the last of it, what follows, and what explains a failed start."""

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
    """Return the last *lines* of Kafka's log, then whatever the Java runtime said on its own."""
    return list(deque(chain(_lines(folder.server_log), _lines(folder.java_log)), maxlen=lines))


def evidence(folder: Folder, begin: int) -> list[str]:
    """Return what explains a failed start whose log begins at byte *begin*: errors, or the end."""
    said = [*_lines(folder.server_log, begin), *_lines(folder.java_log)]
    trouble = dict.fromkeys(line for line in said if _TROUBLE.match(line))
    return list(trouble)[:EVIDENCE_LINES] or said[-EVIDENCE_LINES:]


def follow(file: Path, lines: int) -> Iterator[str]:
    """Yield the last *lines* of a log, then each new one, over its rotations; never end."""
    with file.open(errors="replace") as current:
        yield from (line.rstrip("\n") for line in deque(current, maxlen=lines))
        yield from _grown(file, current)
    while True:
        with file.open(errors="replace") as current:
            yield from _grown(file, current)


def _grown(file: Path, current: TextIO) -> Iterator[str]:
    """Yield what is added to the open file until another one has its name."""
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
