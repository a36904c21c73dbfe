"""Worker processes of the tests: the real `faust -A module worker`, started and killed."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

SUPPORT = Path(__file__).parent


class WorkerProcess:
    """One `faust -A module worker`.

    FLEET_TEST_LOOP=uvloop runs those on uvloop that name no *loop*.
    """

    def __init__(self, module: str, log: Path, loop: str = "", **variables: str) -> None:
        self.log = log
        loop = loop or os.environ.get("FLEET_TEST_LOOP", "aio")
        self.port = _free_port()
        faust = Path(sys.executable).with_name("faust")
        environment = {**os.environ, "PYTHONPATH": str(SUPPORT), **variables}
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(str(faust), "--loop", loop, "-A", module),
                    *("worker", "-l", "info", "--web-port", str(self.port)),
                ],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
            )

    def kill(self) -> None:
        """SIGKILL: no chance to say goodbye."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """SIGSTOP: it lives, holds its connections and does nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """SIGCONT: it goes on as though no time had passed."""
        self.process.send_signal(signal.SIGCONT)

    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    def terminate(self) -> int:
        """SIGTERM; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def stop(self) -> None:
        """End it in whatever state it is."""
        if self.process.poll() is None:
            self.kill()

    def metrics(self) -> str:
        """What its /metrics shows."""
        with urllib.request.urlopen(f"http://localhost:{self.port}/metrics") as answer:
            page: str = answer.read().decode()
            return page

    def output(self) -> str:
        """What it wrote so far."""
        return self.log.read_text(errors="replace")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
