"""
A data folder per process: workers of one step group on one machine share nothing.

Each takes the first folder that no other process holds, so a restarted worker finds its state.
"""

import fcntl
from pathlib import Path
from typing import IO

_MOST_WORKERS = 1_000


class Claim:
    """A folder that this process holds until `release`, or until it dies."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path = path
        self._lock = lock

    def release(self) -> None:
        """Let another process have the folder."""
        self._lock.close()


def claim(parent: Path) -> Claim:
    """Take the first free folder `worker-N` below *parent*."""
    parent.mkdir(parents=True, exist_ok=True)
    for number in range(_MOST_WORKERS):
        lock = (parent / f"worker-{number}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
        else:
            return Claim(parent / f"worker-{number}", lock)
    raise AssertionError(f"more than {_MOST_WORKERS} workers hold folders below {parent}")
