"""One process at a time: a lock file, held while something is downloaded, started or stopped."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock file *path* alone, after waiting for its holder."""
    with _acquired(path):
        yield


def _acquired(path: Path) -> IO[str]:
    while True:
        file = _opened(path)
        fcntl.flock(file, fcntl.LOCK_EX)
        if _is_still(path, file):
            return file
        # It was removed by a purge while we waited: what we hold now locks nothing.
        file.close()


def _opened(path: Path) -> IO[str]:
    while True:
        # Not `exist_ok`, which looks twice: a purge may take the folder away at any moment.
        with suppress(FileExistsError):
            path.parent.mkdir(parents=True)
        with suppress(FileNotFoundError):
            return path.open("a")


def _is_still(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
