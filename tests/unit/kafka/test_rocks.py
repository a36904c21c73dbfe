"""The state of a task in RocksDB: what opening it says, and what is made of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from fleet.engine.loading.guarded_store import GuardedStore, StoreFailed
from fleet.engine.ports import StateInUse, StateStillOpen
from fleet.kafka import rocks
from fleet.kafka.rocks import RocksStore

_OPEN = """
import sys
from pathlib import Path
from fleet.kafka.rocks import RocksStore
store = RocksStore(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def filled(folder: Path) -> Path:
    """Leave a state in *folder*."""
    store = RocksStore(folder)
    store.write({b"a": b"1"}, 7)
    store.close()
    return folder


def test_a_folder_that_this_process_holds_may_be_free_soon(tmp_path: Path) -> None:
    """A predecessor in the same process closes it: that is worth waiting for."""
    held = RocksStore(tmp_path / "0")

    with pytest.raises(StateStillOpen):
        RocksStore(tmp_path / "0")

    held.close()
    RocksStore(tmp_path / "0").close()


def test_a_folder_that_another_process_holds_is_said(tmp_path: Path) -> None:
    """Two workers with one data folder: nobody but the operator can mend that."""
    command = [sys.executable, "-c", _OPEN, str(tmp_path / "0")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"

        with pytest.raises(StateInUse, match="FLEET_DATA_DIR") as refused:
            RocksStore(tmp_path / "0")
        assert not isinstance(refused.value, StateStillOpen)
        other.communicate()


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST-*"])
def test_a_folder_that_is_corrupt_is_removed_and_used_again(tmp_path: Path, name: str) -> None:
    """Whatever of it cannot be read; the state is a copy."""
    folder = filled(tmp_path / "0")
    for each in folder.glob(name):
        each.write_bytes(b"garbage")

    with pytest.raises(StoreFailed):
        RocksStore(folder)
    rocks.remove(folder)

    store = RocksStore(folder)
    assert (store.get(b"a"), store.state_offset) == (None, 0)
    store.close()


def test_what_is_in_the_place_of_a_folder_is_removed(tmp_path: Path) -> None:
    """Also a file, and where nothing is."""
    (tmp_path / "0").write_text("no folder")

    rocks.remove(tmp_path / "0")
    rocks.remove(tmp_path / "0")

    RocksStore(tmp_path / "0").close()


def test_a_store_that_fails_says_so_before_anybody_hears_the_error(tmp_path: Path) -> None:
    """Each way to touch it; a scrape gets a zero instead."""
    store = GuardedStore(RocksStore(filled(tmp_path / "0")))
    heard: list[StoreFailed] = []
    store.on_failure = heard.append
    store.close()
    store.close()

    for touch in (
        lambda: store.get(b"a"),
        lambda: store.items(b"a"),
        lambda: store.scan(b"", b"", 1),
        lambda: store.write({b"a": b"2"}, 8),
        lambda: store.state_offset,
        lambda: store.appended_ms,
        store.reset,
    ):
        with pytest.raises(StoreFailed):
            touch()
    assert len(heard) == 7
    assert store.size == 0
