"""
Which broker was started last in a folder.

The note stays when the broker stops, so that the next one takes its port.
"""

import json
from dataclasses import asdict, dataclass
from typing import Self

from fleet.dev.kafka.folder import Folder
from fleet.dev.processes import Process


@dataclass(frozen=True)
class State:
    """The last start in a folder."""

    pid: int
    #: As in `Process.birth`.
    birth: str
    port: int
    #: The version of Apache Kafka.
    version: str
    #: When, in unix seconds.
    started: float

    @property
    def process(self) -> Process:
        """The process, which may have ended."""
        return Process(self.pid, self.birth)

    @classmethod
    def read(cls, folder: Folder) -> Self | None:
        """Return the last start in *folder*; None if there was none, or the note is damaged."""
        try:
            return cls(**json.loads(folder.state_file.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write(self, folder: Folder) -> None:
        """Note this start in *folder*."""
        written = folder.state_file.with_suffix(".new")
        written.write_text(json.dumps(asdict(self)))
        written.replace(folder.state_file)
