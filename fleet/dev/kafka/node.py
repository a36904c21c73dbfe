"""
One node of Apache Kafka as a process: format its data, launch it, await its answer.

Users, states and locks are the package's business (`fleet.dev.kafka`).
"""

import base64
import subprocess
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet.dev import processes
from fleet.dev.kafka import java, logs, probe
from fleet.dev.kafka.folder import Folder
from fleet.dev.processes import Process
from fleet.records.errors import ExitCode, FleetError

#: A start takes 1 to 5 s, and longer on a busy machine.
START_SECONDS = 90.0
FORMAT_SECONDS = 60.0
STOP_SECONDS = 20.0


class FormatFailed(FleetError):
    """Raised when Kafka cannot format its data folder.

    What to do: Remove the folder with `fleet dev down --purge`, or choose another one with
    `--folder`.
    """

    def __init__(self, folder: Folder, said: str) -> None:
        super().__init__(
            f"Kafka could not prepare {folder.data}: {said or 'it said nothing'}. `fleet dev down "
            f"--purge --folder {folder.path}` removes it; --folder chooses another one"
        )


class BrokerDied(FleetError):
    """Raised when a broker ends while it starts.

    What to do: Read what Kafka said with `fleet dev logs`. A full disk and too little memory are
    the usual causes.
    """

    def __init__(self, folder: Folder, lines: Sequence[str]) -> None:
        evidence = "".join(f"\n  {line}" for line in lines) or " without a word"
        super().__init__(
            f"Kafka ended while it started in {folder.path}; `fleet dev logs --folder "
            f"{folder.path}` shows all that it said:{evidence}"
        )


class BrokerSilent(FleetError):
    """Raised when a broker runs and does not answer.

    What to do: Look with `fleet dev logs` at what Kafka does; end it with `fleet dev down`, and
    start it again.
    """

    exit_code = ExitCode.UNREACHABLE
    permanent = False

    def __init__(self, folder: Folder, port: int, pid: int) -> None:
        super().__init__(
            f"Kafka (process {pid}) did not answer at port {port} for {START_SECONDS:.0f} s; "
            f"`fleet dev logs --folder {folder.path}` shows what it does, `fleet dev down "
            f"--folder {folder.path}` ends it"
        )


@dataclass(frozen=True)
class Distribution:
    """An Apache Kafka that can be run."""

    version: str
    classpath: tuple[Path, ...]
    #: Options with which Java starts faster, see `warmup`.
    options: tuple[str, ...] = ()


def format_data(folder: Folder, kafka: Distribution) -> None:
    """Format the data folder for Kafka, as a cluster of its own. Raises FormatFailed."""
    arguments = ("format", "-t", _cluster_id(), "-c", folder.server_properties)
    command = java.command(
        kafka.classpath,
        "kafka.tools.StorageTool",
        *arguments,
        options=(*kafka.options, *_options(folder), "-XX:TieredStopAtLevel=1"),
    )
    try:
        done = subprocess.run(  # noqa: S603 - our own Java and jars
            command,
            env=java.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=FORMAT_SECONDS,
            text=True,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired as failure:
        raise FormatFailed(folder, f"not done after {FORMAT_SECONDS:.0f} s") from failure
    if done.returncode:
        raise FormatFailed(folder, done.stdout.strip().partition("\n")[0])


def launch(folder: Folder, kafka: Distribution, heap_mb: int) -> Process:
    """Start the node that the folder's configuration describes; it is not ready yet."""
    command = java.command(
        kafka.classpath,
        "kafka.Kafka",
        folder.server_properties,
        options=(f"-Xmx{heap_mb}m", *kafka.options, *_options(folder)),
    )
    return processes.spawn(command, output=folder.java_log, environment=java.environment())


def await_answer(folder: Folder, node: Process, port: int, *, log_begin: int = 0) -> None:
    """Return when the node takes up work. Raises BrokerDied, BrokerSilent.

    *log_begin* is the size of the log before the start, so that an older error is not blamed.
    """
    deadline = time.monotonic() + START_SECONDS
    while not answers(folder, port):
        if not node.is_alive():
            raise BrokerDied(folder, logs.evidence(folder, log_begin))
        if time.monotonic() > deadline:
            raise BrokerSilent(folder, port, node.pid)
        time.sleep(processes.POLL_SECONDS)


def answers(folder: Folder, port: int) -> bool:
    """Whether the broker of this folder, and no other, is ready at *port*."""
    return folder.cluster_id is not None and probe.cluster_id(port) == folder.cluster_id


def _options(folder: Folder) -> tuple[str, ...]:
    return (
        f"-Djava.io.tmpdir={folder.temporary}",
        f"-Dlog4j2.configurationFile={folder.logging_properties}",
    )


def _cluster_id() -> str:
    # A leading `-` would be read as an option.
    return "F" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
