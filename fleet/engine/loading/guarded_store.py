"""
A task's local state, watched: a store that fails is noticed at once, by whatever call.

The state is a copy of the changelog, so a store that fails is no loss, but whatever was read of it
may be wrong: its task has to end before anything is decided by it. A step, a timer, a record and a
commit all touch the store, and each has an error handling of its own; so it is the store that says
it, and does so before its error reaches any of them.
"""

from collections.abc import Callable, Iterator, Mapping

from fleet.engine.ports import LocalStore
from fleet.records.errors import FleetError

#: What RocksDB and the system say of a place that cannot be used now, whatever is in it.
_PLACE = (
    "Permission denied",
    "Operation not permitted",
    "Read-only file system",
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
    "Too many open files",
    "Cannot allocate memory",
)


class StoreFailed(FleetError):
    """Raised when a task's local state cannot be opened, read or written.

    What to do: Free space on the disk, or correct the folder's permissions; the message says which.
    The worker continues by itself.
    """

    permanent = False

    def __init__(self, what: str, reason: str) -> None:
        #: Whether what is there cannot be read, so that it has to be built again. Otherwise it
        #: is unchanged, and cannot be reached.
        self.corrupt = not any(sign in reason for sign in _PLACE)
        way_out = (
            "it is removed and loaded from its changelog. If that happens again, look at the disk "
            "of FLEET_DATA_DIR"
            if self.corrupt
            else "it is kept, and its partition waits: look at the permissions and the free space "
            "of FLEET_DATA_DIR and at the limits of the process (ulimit -a)"
        )
        super().__init__(f"the local state cannot be used ({what}: {reason}); {way_out}")


class GuardedStore:
    """A local store whose every failure is a StoreFailed that was told to `on_failure` before."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._closed = False
        #: Hears of each failure once the task takes records.
        self.on_failure: Callable[[StoreFailed], object] = lambda _failure: None

    def get(self, key: bytes) -> bytes | None:
        """Return the value of *key*, or None."""
        try:
            return self._store.get(key)
        except Exception as failure:
            raise self._failed("get", failure) from failure

    def items(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the entries under *prefix*."""
        try:
            return self._store.items(prefix)
        except Exception as failure:
            raise self._failed("scan", failure) from failure

    def scan(self, prefix: bytes, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return at most *limit* entries under *prefix* whose keys are greater than *after*."""
        try:
            return self._store.scan(prefix, after, limit)
        except Exception as failure:
            raise self._failed("scan", failure) from failure

    def write(
        self, changes: Mapping[bytes, bytes | None], state_offset: int, appended_ms: int = 0
    ) -> None:
        """Apply a commit's changes, all or none."""
        try:
            self._store.write(changes, state_offset, appended_ms)
        except Exception as failure:
            raise self._failed("write", failure) from failure

    def reset(self) -> None:
        """Remove everything."""
        try:
            self._store.reset()
        except Exception as failure:
            raise self._failed("reset", failure) from failure

    @property
    def state_offset(self) -> int:
        """Changelog offset at which loading continues."""
        try:
            return self._store.state_offset
        except Exception as failure:
            raise self._failed("get", failure) from failure

    @property
    def log_id(self) -> str:
        """The id of the changelog's topic."""
        try:
            return self._store.log_id
        except Exception as failure:
            raise self._failed("get", failure) from failure

    @log_id.setter
    def log_id(self, log_id: str) -> None:
        self._store.log_id = log_id

    @property
    def appended_ms(self) -> int:
        """When the newest of it was appended to the changelog, in unix milliseconds."""
        try:
            return self._store.appended_ms
        except Exception as failure:
            raise self._failed("get", failure) from failure

    @property
    def size(self) -> int:
        """About how large it is, in bytes; 0 if it does not tell."""
        try:
            return self._store.size
        except Exception:  # noqa: BLE001 - a scrape must not fail, and ends no task
            return 0

    def close(self) -> None:
        """Release what the store holds, once."""
        if not self._closed:
            self._closed = True
            self._store.close()

    def _failed(self, what: str, failure: Exception) -> StoreFailed:
        told = StoreFailed(what, str(failure) or repr(failure))
        self.on_failure(told)
        return told
