"""
The folder of the demo: notes on its processes, for `fleet demo --stop` and for the next demo.

The demo notes a part as soon as it runs and forgets it when it stops it. So even a demo that was
killed leaves a note of what still runs.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from fleet.dev.processes import Process
from fleet.records.errors import ExitCode, FleetError


class DemoRunning(FleetError):
    """Raised when another demo runs in the same folder.

    What to do: Wait for the other demo, end it with Ctrl-C, or choose another `FLEET_DATA_DIR`.
    """

    exit_code = ExitCode.REFUSED
    permanent = False

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"another `fleet demo` is at work in {folder}; wait for it or stop it with Ctrl-C, or "
            "choose another FLEET_DATA_DIR"
        )


class DemoFolderUnusable(FleetError):
    """Raised when the demo cannot keep its files.

    What to do: Choose another folder with `FLEET_DATA_DIR`.
    """

    def __init__(self, folder: Path, failure: OSError) -> None:
        super().__init__(
            f"the demo cannot keep its files in {folder}: {failure.strerror}; choose another "
            "folder with FLEET_DATA_DIR"
        )


@dataclass(frozen=True, slots=True)
class Part:
    """A process of the demo."""

    pid: int
    #: As in `Process.birth`.
    birth: str
    #: Where it answers: the LLM's base URL, the worker's metrics.
    url: str
    #: The broker and model that it was started for; for others it is of no use.
    purpose: str = ""

    @property
    def process(self) -> Process:
        """The process, which may have ended."""
        return Process(self.pid, self.birth)


@dataclass(frozen=True, slots=True)
class DemoFolder:
    """The files of the demo."""

    path: Path

    @property
    def kafka(self) -> Path:
        """The embedded broker's folder."""
        return self.path / "kafka"

    @property
    def worker_data(self) -> Path:
        """The worker's state."""
        return self.path / "state"

    def log(self, part: str) -> Path:
        """The file of a part's log."""
        return self.path / f"{part}.log"

    def part(self, name: str) -> Part | None:
        """Return the part *name* if it runs."""
        try:
            part = Part(**json.loads(self._note(name).read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return part if part.process.is_alive() else None

    def remember(self, name: str, part: Part) -> None:
        """Note a part that runs."""
        written = self._note(name).with_suffix(".new")
        written.write_text(json.dumps(asdict(part)))
        written.replace(self._note(name))

    def forget(self, name: str) -> None:
        """Forget a part that was stopped."""
        self._note(name).unlink(missing_ok=True)

    def last_words(self, part: str, lines: int) -> list[str]:
        """Return the last lines of a part's log, if there is one."""
        with suppress(FileNotFoundError):
            return self.log(part).read_text(errors="replace").splitlines()[-lines:]
        return []

    def has_logs(self) -> bool:
        """Tell whether a part has logged anything."""
        return any(log.stat().st_size for log in self.path.rglob("*.log"))

    def remove(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.path, ignore_errors=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder and hold it alone; raise DemoRunning if another demo has it."""
        lock = self._locked()
        try:
            yield
        finally:
            os.close(lock)

    def _locked(self) -> int:
        while True:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                lock = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                raise DemoRunning(self.path) from None
            except OSError as failure:
                raise DemoFolderUnusable(self.path, failure) from failure
            # A demo that has just ended may have removed our file: then it locks nothing.
            with suppress(FileNotFoundError):
                if os.path.samestat(self._lock.stat(), os.fstat(lock)):
                    return lock
            os.close(lock)

    @property
    def _lock(self) -> Path:
        return self.path / "lock"

    def _note(self, name: str) -> Path:
        return self.path / f"{name}.json"
