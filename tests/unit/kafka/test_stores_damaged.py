"""A local state whose files are damaged, or whose disk is: what is left is whole, or made anew."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.engine.loading.guarded_store import GuardedStore, StoreFailed
from fleet.kafka.rocks import RocksStore

#: Writes and flushes thrice, writes once more, and ends without a word.
_DIE = """
import os, sys
from pathlib import Path
from fleet.kafka.rocks import RocksStore

store = RocksStore(Path(sys.argv[1]))
for number in range(4):
    changes = {b"k%d.%d" % (number, each): os.urandom(64) for each in range(100)}
    store.write({**changes, b"last": b"%d" % (number + 1)}, number + 1, 5_000 + number)
    if number < 3:
        store._db.flush()
os._exit(0)
"""
#: Writes until the system allows no larger files.
_FILL = """
import os, resource, sys
from pathlib import Path
from fleet.kafka import rocks
from fleet.engine.loading.guarded_store import GuardedStore, StoreFailed

rocks.FLUSH_CHANGES = 100
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
store = GuardedStore(rocks.RocksStore(Path(sys.argv[1])))
try:
    for number in range(100_000):
        changes = {b"k%d.%d" % (number, each): os.urandom(64) for each in range(100)}
        store.write({**changes, b"last": b"%d" % (number + 1)}, number + 1, 5_000 + number)
except StoreFailed as failure:
    print(failure.corrupt, failure, flush=True)
os._exit(0)
"""


def _run(script: str, folder: Path) -> str:
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a worker leaves that is killed."""
    folder = tmp_path_factory.mktemp("left") / "0"
    _run(_DIE, folder)
    return folder


@pytest.fixture
def folder(left: Path, tmp_path: Path) -> Path:
    shutil.copytree(left, tmp_path / "0")
    return tmp_path / "0"


def _is_whole(store: RocksStore | GuardedStore) -> bool:
    """Whether everything up to its offset is there and nothing of later."""
    offset = store.state_offset
    keys = {key for key, _ in store.items(b"k")}
    wanted = {b"k%d.%d" % (number, each) for number in range(offset) for each in range(100)}
    return keys == wanted and store.get(b"last") == (b"%d" % offset if offset else None)


def test_a_process_that_dies_leaves_what_was_flushed(folder: Path) -> None:
    """The rest is read again from the changelog."""
    store = RocksStore(folder)
    assert (store.state_offset, store.appended_ms, _is_whole(store)) == (3, 5_002, True)
    store.close()


def test_a_process_that_stops_leaves_everything(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "0")
    store.write({b"a": b"1"}, 7, 9)
    store.close()

    store = RocksStore(tmp_path / "0")
    assert (store.get(b"a"), store.state_offset, store.appended_ms) == (b"1", 7, 9)
    store.close()


def _flipped(content: bytes, share: float) -> bytes:
    place = int(len(content) * share)
    return content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]


DAMAGES: dict[str, Callable[[bytes, float], bytes | None]] = {
    "flipped": _flipped,
    "cut": lambda content, share: content[: int(len(content) * share)],
    "zeroed": lambda content, share: bytes(int(len(content) * share)),
    "replaced": lambda _content, share: b"garbage" * int(1 + 20 * share),
    "removed": lambda _content, _share: None,
}


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4, 0.6, 0.8, 0.95])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["*.sst", "MANIFEST-*", "CURRENT", "OPTIONS-*", "IDENTITY"])
def test_what_is_damaged_is_found_out_or_does_not_matter(
    folder: Path, name: str, damage: str, share: float
) -> None:
    """It is corrupt, and is made anew; else what can be read is what was there at its offset."""
    file = max(folder.glob(name))
    changed = DAMAGES[damage](file.read_bytes(), share)
    file.unlink()
    if changed is not None:
        file.write_bytes(changed)

    found = _found(folder)
    assert found == "whole" or "it is removed and loaded from its changelog" in found


def _found(folder: Path) -> str:
    """Return what a task finds in a folder."""
    try:
        store = GuardedStore(RocksStore(folder))
    except StoreFailed as failure:
        return str(failure)
    try:
        return "whole" if _is_whole(store) else "something else"
    except StoreFailed as failure:
        return str(failure)
    finally:
        store.close()


def test_a_disk_without_space_leaves_what_is_there(tmp_path: Path) -> None:
    """The system refuses to write: nothing is corrupt, and what was written before is whole."""
    said = _run(_FILL, tmp_path / "0")

    assert said.startswith("False the local state cannot be used (write: IO error: ")
    assert "File too large" in said
    assert "it is kept, and its partition waits" in said
    store = RocksStore(tmp_path / "0")
    assert _is_whole(store)
    store.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_kept(folder: Path) -> None:
    """An operator mends that, and the state is there."""
    folder.chmod(0)
    try:
        with pytest.raises(StoreFailed, match=r"it is kept.*permissions") as refused:
            RocksStore(folder)
        assert not refused.value.corrupt
    finally:
        folder.chmod(0o700)
    store = RocksStore(folder)
    assert _is_whole(store)
    store.close()


@pytest.mark.parametrize(
    ("reason", "corrupt"),
    [
        ("Corruption: block checksum mismatch: stored = 1, computed = 2", True),
        ("Corruption: CURRENT file does not end with newline", True),
        ("IO error: No such file or directory: While opening /x/MANIFEST-000005", True),
        ("IO error: Input/output error: While pread offset 0 len 4096", True),
        ("Invalid argument: not an sstable", True),
        ("IO error: No space left on device: While appending to file: /x/000014.sst", False),
        ("IO error: Permission denied: While open a file for random read: /x/000009.sst", False),
        ("IO error: Read-only file system: While renaming a file", False),
        ("IO error: Too many open files: While open a file for random read", False),
        ("[Errno 122] Disk quota exceeded: '/x'", False),
    ],
)
def test_what_is_corrupt_is_told_from_what_cannot_be_got_at(reason: str, *, corrupt: bool) -> None:
    """Only what is corrupt is thrown away."""
    assert StoreFailed("get", reason).corrupt is corrupt
