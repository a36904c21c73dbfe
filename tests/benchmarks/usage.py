"""What processes have used, as the operating system counts it: CPU seconds and memory."""

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_MIB = 1024 * 1024


@dataclass(frozen=True)
class Usage:
    """Of one process or, added up, of several."""

    #: User and system time since it began.
    cpu_seconds: float = 0.0
    #: The most that was resident at once; where only `ps` tells, what is resident now.
    peak_mib: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.cpu_seconds + other.cpu_seconds, self.peak_mib + other.peak_mib)


def of(pids: Iterable[int]) -> Usage:
    """Return the sum over processes; one that has ended counts nothing."""
    measure = _by_proc if sys.platform == "linux" else _by_ps
    return sum((measure(pid) for pid in pids), Usage())


def _by_proc(pid: int) -> Usage:
    folder = Path(f"/proc/{pid}")
    try:
        # The name in brackets may hold anything, so count from its end.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        status = (folder / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return Usage()
    ticks = int(fields[11]) + int(fields[12])
    peak = status.partition("VmHWM:")[2].split()
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), int(peak[0]) / 1024 if peak else 0.0)


def _by_ps(pid: int) -> Usage:
    shown = subprocess.run(
        ["/bin/ps", "-o", "time=,rss=", "-p", str(pid)],
        env={"LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    if not shown:
        return Usage()
    seconds = 0.0
    for part in shown[0].replace("-", ":").split(":"):
        seconds = seconds * 60 + float(part)
    return Usage(seconds, int(shown[1]) / 1024)


def folder_mib(folder: Path) -> float:
    """Return how much the files in the folders below a folder hold; its own files are logs."""
    files = (each for each in folder.glob("*/**/*") if each.is_file())
    return sum(each.stat().st_size for each in files) / _MIB
