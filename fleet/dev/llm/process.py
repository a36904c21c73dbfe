"""The scripted model as a process of its own, for the demo and for tests that kill its callers."""

import http.client
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fleet.dev.llm.faults import Behaviour
from fleet.dev.llm.protocol import Json
from fleet.records.errors import FleetError

#: An interpreter that has to load aiohttp on a busy machine needs a second or two.
START_SECONDS = 30.0
STOP_SECONDS = 5.0


class ScriptedNotStarted(FleetError):
    """Raised when the process of the scripted LLM does not come up.

    What to do: Read its log at the path that the message names.
    """

    def __init__(self, log: Path) -> None:
        lines = log.read_text(errors="replace").strip().splitlines()
        said = lines[-1] if lines else "it said nothing"
        super().__init__(f"the scripted LLM did not start: {said} (its log is {log})")


class ScriptedProcess:
    """A running scripted model. It outlives this process unless `stop` is called."""

    def __init__(self, process: subprocess.Popen[bytes], base_url: str) -> None:
        self._process = process
        #: What OPENAI_BASE_URL has to be.
        self.base_url = base_url

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def stop(self) -> None:
        """End it, gently at first; nothing happens when it has ended already."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def stats(self) -> Json:
        """Return what GET /stats shows."""
        return self._ask("GET", "/stats")

    def reset(self) -> None:
        """Forget the counts."""
        self._ask("POST", "/stats/reset")

    def journal(self, after: int = 0) -> Json:
        """Return what GET /journal shows, from the entry at *after* on."""
        return self._ask("GET", f"/journal?after={after}")

    def change(self, **changes: Any) -> Json:
        """Set fields of its `Behaviour`, given as JSON, and return all of them."""
        return self._ask("POST", "/control", json.dumps(changes))

    def _ask(self, method: str, path: str, body: str | None = None) -> Json:
        # Not urllib: it would ask a proxy that the environment names.
        connection = http.client.HTTPConnection(urlsplit(self.base_url).netloc, timeout=10)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            answer: Json = json.load(response)
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise ValueError(f"{method} {path}: {answer}")
        return answer


def start_process(*, log: Path, port: int = 0, latency_seconds: float = 0.2) -> ScriptedProcess:
    """Start a scripted model in the background and return once it answers.

    It writes to the file *log* and has a session of its own, so Ctrl-C in the terminal does not
    reach it. Raises ScriptedNotStarted.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    behaviour = Behaviour(latency_seconds=latency_seconds)
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as ready:
        process = _spawn(port, behaviour, log, writer)
        os.close(writer)
        base_url = _first_line(ready.fileno())
    scripted = ScriptedProcess(process, base_url)
    if not base_url:
        scripted.stop()
        raise ScriptedNotStarted(log)
    return scripted


def _spawn(port: int, behaviour: Behaviour, log: Path, ready: int) -> subprocess.Popen[bytes]:
    arguments = ["--port", str(port), "--behaviour", behaviour.model_dump_json()]
    with log.open("wb") as output:
        return subprocess.Popen(  # noqa: S603 - our own module, by this interpreter
            [sys.executable, "-m", "fleet.dev.llm", *arguments, "--ready-fd", str(ready)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(ready,),
            start_new_session=True,
        )


def _first_line(ready: int) -> str:
    """Wait for the address; return nothing if the process ended or took too long."""
    readable, _, _ = select.select([ready], [], [], START_SECONDS)
    return os.read(ready, 1024).decode().strip() if readable else ""
