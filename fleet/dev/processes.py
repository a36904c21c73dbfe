"""
Background processes that outlive the command that started them, and are found again by pid.

A pid alone says nothing: after a crash or a reboot another process may have it. It counts only
together with the start time of its process.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.02
#: Through a shell that ends at once: the process is not our child, and leaves no zombie to a caller
#: that lives on.
_LAUNCH = 'output=$1; shift; "$@" >"$output" 2>&1 </dev/null & echo $!'


@dataclass(frozen=True)
class Process:
    """A process of this machine, which may have ended."""

    pid: int
    #: When it started, in the operating system's words; empty if it ended at once.
    birth: str

    def is_alive(self) -> bool:
        """Whether it still runs; another process with its pid does not count."""
        return bool(self.birth) and birth(self.pid) == self.birth

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.is_alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended, at most *seconds*; say whether it has."""
        deadline = time.monotonic() + seconds
        while self.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def stop(self, seconds: float) -> None:
        """Ask it to end, and kill it after *seconds*."""
        self.signal(signal.SIGTERM)
        if not self.wait(seconds):
            self.kill()

    def kill(self) -> None:
        """End it at once, and wait until it has ended."""
        self.signal(signal.SIGKILL)
        self.wait(seconds=10)


def spawn(command: Sequence[str], *, output: Path, environment: Mapping[str, str]) -> Process:
    """Start *command* in a session of its own, with all output in the file *output*."""
    launched = subprocess.run(  # noqa: S603 - commands of this package, no user's words
        ["/bin/sh", "-c", _LAUNCH, "sh", str(output), *command],
        env=environment,
        cwd=output.parent,
        start_new_session=True,
        capture_output=True,
        text=True,
        check=True,
    )
    pid = int(launched.stdout)
    return Process(pid, birth(pid))


def birth(pid: int) -> str:
    """When the process started; empty if there is none, or only a zombie."""
    return _birth_in_proc(pid) if sys.platform == "linux" else _birth_by_ps(pid)


def _birth_in_proc(pid: int) -> str:
    try:
        # The name in brackets may hold anything, so count from its end.
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    threads, started = int(fields[16]), fields[18]
    # A killed process is a zombie as soon as its first thread is. While other threads last, its
    # files stay open, and so does its port.
    return "" if state in "ZX" and threads <= 1 else f"{boot}/{started}"


def _birth_by_ps(pid: int) -> str:
    shown = subprocess.run(  # noqa: S603 - a number
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)],
        env={"LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    state, _, started = shown.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else started.strip()
