"""
The files of one embedded broker: their places, and how they are made and removed.

Only these names are ever written or removed, so a folder that holds other things keeps them.
"""

import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_CLUSTER = re.compile(r"^cluster\.id=(?P<id>.+)$", re.MULTILINE)
_PARTITION = re.compile(r"(?!__)(?P<topic>.+)-\d+")


@dataclass(frozen=True)
class Folder:
    """The files of one broker."""

    path: Path

    @property
    def data(self) -> Path:
        """Kafka's partitions."""
        return self.path / "data"

    @property
    def logs(self) -> Path:
        """The broker's logs for people."""
        return self.path / "logs"

    @property
    def server_log(self) -> Path:
        """Kafka's log. `.1` to `.3` are older."""
        return self.logs / "server.log"

    @property
    def log_size(self) -> int:
        """The size of the log, in bytes."""
        return self.server_log.stat().st_size if self.server_log.exists() else 0

    @property
    def java_log(self) -> Path:
        """The output of the Java runtime itself since the last start; usually empty."""
        return self.logs / "java.log"

    @property
    def temporary(self) -> Path:
        """The folder into which Java unpacks its native libraries."""
        return self.path / "tmp"

    @property
    def server_properties(self) -> Path:
        """The broker's configuration."""
        return self.path / "server.properties"

    @property
    def logging_properties(self) -> Path:
        """The configuration of its log."""
        return self.path / "log4j2.properties"

    @property
    def state_file(self) -> Path:
        """The note of the last start; see `State`."""
        return self.path / "broker.json"

    @property
    def lock(self) -> Path:
        """The lock file, held while the broker is started or stopped."""
        return self.path / "lock"

    @property
    def cluster_id(self) -> str | None:
        """The cluster of the data; None if it is not formatted, which writes the id last."""
        file = self.data / "meta.properties"
        found = _CLUSTER.search(file.read_text()) if file.exists() else None
        return found["id"] if found else None

    def create(self) -> None:
        """Make the folders and the lock file. Raises OSError."""
        for folder in (self.path, self.data, self.logs, self.temporary):
            folder.mkdir(parents=True, exist_ok=True)
        self.lock.touch()

    def topics(self) -> list[str]:
        """Return the topics that have data here, Kafka's own excepted."""
        found = (_PARTITION.fullmatch(folder.name) for folder in self.data.glob("*/"))
        return sorted({partition["topic"] for partition in found if partition})

    def purge(self) -> None:
        """Remove all of it, and the folder if nothing else is in it."""
        for folder in (self.data, self.logs, self.temporary):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.server_properties, self.logging_properties, self.state_file, self.lock):
            file.unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()
