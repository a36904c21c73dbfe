"""
A task's state in RocksDB: a local copy of its changelog.

The copy can always be made again from the changelog. So it is written without fsync and without
RocksDB's own log, and the changelog's offset is in one batch with the changes up to it. A process
that dies leaves its last flush, which is the state at some earlier offset. With a log of its own,
RocksDB would put the newest changes on top of what a damaged list of files has left.
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from fleet.config import logs
from fleet.engine import ends_index
from fleet.engine.loading.guarded_store import StoreFailed
from fleet.engine.ports import StateInUse, StateStillOpen
from fleet.records.errors import FleetError

_log = logs.get_logger("rocks")

#: Changelog offset at which a load continues, when its newest record was appended, in unix
#: milliseconds, and the id of the changelog's topic. The empty key sorts first and no state has it.
_OFFSET_KEY = b""


#: After this number of changes RocksDB writes them to files, in the background. A process that dies
#: reads about as many again from the changelog.
FLUSH_CHANGES = 5_000
_UNLOGGED = WriteOptions()
# A property; its stub says a method.
_UNLOGGED.disable_wal = True  # type: ignore[method-assign,assignment]

_SIZES = ("rocksdb.live-sst-files-size", "rocksdb.cur-size-all-mem-tables")


#: RocksDB's words for a folder that another process holds, and for one that this process holds.
_HELD_ELSEWHERE, _HELD_HERE = "While lock file", "lock hold by current process"


class RocksStore:
    """The state of one task; see `fleet.engine.ledger.StateStore`."""

    def __init__(self, folder: Path) -> None:
        """Open the state in *folder*; raises StateInUse, StoreFailed, OSError."""
        self._folder = folder
        #: Changes since the last flush.
        self._unflushed = 0
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._open()
        self._log_id: str | None = None

    def get(self, key: bytes) -> bytes | None:
        """Return the value of *key*, or None."""
        found: bytes | None = self._db.get(key)
        return found

    def items(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the entries under *prefix*; none may be held open over an await."""
        return iter(self._range(prefix, prefix, limit=None))

    def scan(self, prefix: bytes, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return at most *limit* entries under *prefix* whose keys are greater than *after*."""
        return self._range(prefix, after + b"\0", limit)

    def write(
        self, changes: Mapping[bytes, bytes | None], state_offset: int, appended_ms: int = 0
    ) -> None:
        """Apply a commit's changes and the changelog offset, all or none."""
        batch, entries = WriteBatch(raw_mode=True), ends_index.extended(self, changes)
        for key, value in entries.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        if state_offset:
            place = b"%d %d %b" % (state_offset, appended_ms, self.log_id.encode())
            batch.put(_OFFSET_KEY, place.rstrip())
        self._db.write(batch, _UNLOGGED)
        self._unflushed += len(entries)
        if self._unflushed >= FLUSH_CHANGES:
            self._unflushed = 0
            self._db.flush(wait=False)

    @property
    def state_offset(self) -> int:
        """Changelog offset at which a load continues; 0 for a new folder."""
        return self._place()[0]

    @property
    def log_id(self) -> str:
        """The id of the topic of which this is a copy; written with each offset."""
        return self._place()[2] if self._log_id is None else self._log_id

    @log_id.setter
    def log_id(self, log_id: str) -> None:
        self._log_id = log_id

    @property
    def appended_ms(self) -> int:
        """When its newest record was appended, in unix milliseconds; 0 if unknown."""
        return self._place()[1]

    @property
    def size(self) -> int:
        """About how large it is, in bytes: files and memory."""
        return sum(self._db.property_int_value(name) or 0 for name in _SIZES)

    def reset(self) -> None:
        """Remove everything: the folder does not belong to today's changelog."""
        self._db.close()
        remove(self._folder)
        self._open()
        self._log_id = ""

    def close(self) -> None:
        """Release the folder; a copy that is broken or gone is no loss."""
        try:
            self._db.close()
        except Exception as failure:  # noqa: BLE001 - rocksdict raises bare exceptions
            _log.warning("state_not_closed", folder=str(self._folder), reason=str(failure))

    def _open(self) -> None:
        try:
            self._db = Rdict(str(self._folder), _options(), access_type=AccessType.read_write())
        except Exception as failure:  # noqa: BLE001 - rocksdict raises bare exceptions
            raise _refusal(self._folder, str(failure)) from None
        try:
            if self._db.get(_OFFSET_KEY) is None:
                self._db.put(ends_index.COMPLETE, b"", _UNLOGGED)
        except Exception as failure:  # noqa: BLE001 - as above; it opens, and cannot be read
            self.close()
            raise StoreFailed("get", str(failure)) from None

    def _place(self) -> tuple[int, int, str]:
        offset, _, rest = (self._db.get(_OFFSET_KEY) or b"0").partition(b" ")
        appended_ms, _, log_id = rest.partition(b" ")
        return int(offset), int(appended_ms or 0), log_id.decode()

    def _range(self, prefix: bytes, start: bytes, limit: int | None) -> list[tuple[bytes, bytes]]:
        reading = ReadOptions()
        reading.set_iterate_upper_bound(prefix + b"\xff")
        found: list[Any] = []
        entries = self._db.iter(reading)
        entries.seek(start)
        while entries.valid() and len(found) != limit:
            found.append((entries.key(), entries.value()))
            entries.next()
        # An iterator that meets a corrupt block ends there, as if nothing followed: this raises.
        entries.status()
        return found


def remove(folder: Path) -> None:
    """Remove the state in *folder*, which is closed; raises OSError."""
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)


def _refusal(folder: Path, reason: str) -> FleetError:
    if _HELD_HERE in reason:
        return StateStillOpen(folder, reason)
    if _HELD_ELSEWHERE in reason:
        return StateInUse(folder, reason)
    return StoreFailed("open", reason)


def _options() -> Options:
    # Small buffers: a worker has one database per partition, and the defaults take 200 MB each.
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(8 * 1024 * 1024)
    options.set_max_write_buffer_number(2)
    options.set_max_open_files(128)
    table = BlockBasedOptions()
    table.set_block_cache(Cache(16 * 1024 * 1024))
    table.set_bloom_filter(10, block_based=False)
    options.set_block_based_table_factory(table)
    options.set_keep_log_file_num(2)
    return options
