"""
A data folder per process: workers of one step group on one machine share nothing.

Each locks the first free folder, so a restarted worker finds its state.
"""

import fcntl
from pathlib import Path
from typing import IO

_MOST_WORKERS = 1_000


class LockedFolder:
    """A folder that this process holds until `release`, or until it dies."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path = path
        self._lock = lock

    def release(self) -> None:
        """Let another process have the folder."""
        self._lock.close()


def lock(parent: Path) -> LockedFolder:
    """Lock the first free folder `worker-N` below *parent*."""
    parent.mkdir(parents=True, exist_ok=True)
    for number in range(_MOST_WORKERS):
        file = (parent / f"worker-{number}.lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
        else:
            return LockedFolder(parent / f"worker-{number}", file)
    raise AssertionError(f"more than {_MOST_WORKERS} workers hold folders below {parent}")
