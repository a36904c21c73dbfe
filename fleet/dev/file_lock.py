"""A lock file: one process at a time downloads, starts or stops something."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock file *path* alone; wait while another process holds it."""
    with _acquired(path):
        yield


def _acquired(path: Path) -> IO[str]:
    while True:
        file = _opened(path)
        fcntl.flock(file, fcntl.LOCK_EX)
        if _is_still(path, file):
            return file
        # A purge removed it while we waited: the file that we hold locks nothing.
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
