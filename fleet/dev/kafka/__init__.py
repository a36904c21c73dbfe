"""
A real Kafka on a laptop, without Docker: one node, running on in the background.

A broker belongs to a folder, which holds its data and names its process. So commands of any process
find it by its folder. A command that starts or stops it holds the folder's lock.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleet.dev import file_lock, ports
from fleet.dev.kafka import configuration, jars, java, logs, warmup
from fleet.dev.kafka import node as kafka_node
from fleet.dev.kafka.folder import Folder
from fleet.dev.kafka.node import Distribution
from fleet.dev.kafka.state import State
from fleet.records.errors import ExitCode, FleetError

DEFAULT_PORT = 9092
SCHEME = "kafka://"

#: Gets a sentence for each slow stage of a start.
Progress = Callable[[str], object]


class BrokerPortTaken(FleetError):
    """Raised when another program listens at the broker's port.

    What to do: Choose another port with `--port`, or leave it out: `fleet dev up` then takes a free
    one.
    """

    exit_code = ExitCode.REFUSED
    permanent = False

    def __init__(self, port: int) -> None:
        super().__init__(
            f"port {port} of {ports.HOST} is taken by another program; choose another one with "
            "--port, or leave --port away and a free one is chosen"
        )


class OtherPort(FleetError):
    """Raised when the folder's broker runs already, at another port.

    What to do: Use the broker that runs, or stop it with `fleet dev down`.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, broker: "LocalBroker", port: int | None) -> None:
        super().__init__(
            f"the broker of {broker.folder} runs already at {broker.bootstrap}, not at port "
            f"{port}; use it, or stop it first with `fleet dev down --folder {broker.folder}`"
        )


class FolderUnusable(FleetError):
    """Raised when a broker cannot keep its data in a folder.

    What to do: Choose another folder with `--folder` or `FLEET_DATA_DIR`.
    """

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(
            f"Kafka cannot keep its data in {folder}: {reason}; choose another folder with "
            "--folder or FLEET_DATA_DIR"
        )


class BadAddress(FleetError):
    """Raised when a broker's address cannot be read.

    What to do: Write the address as `kafka://host:port[,host:port...]`.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, address: str) -> None:
        super().__init__(f"{address!r} is not of the form kafka://host:port[,host:port...]")


@dataclass(frozen=True)
class Broker:
    """A Kafka that answers, wherever it is."""

    #: As Kafka's clients want it: `host:port[,host:port...]`.
    bootstrap: str

    @property
    def address(self) -> str:
        """As FLEET_BROKER and Faust want it: `kafka://host:port[,host:port...]`."""
        return SCHEME + self.bootstrap


@dataclass(frozen=True)
class LocalBroker(Broker):
    """A broker that this module started."""

    #: The pid of its process.
    pid: int
    #: The folder of its data.
    folder: Path
    #: The version of Apache Kafka.
    version: str
    #: When it was started, in unix seconds.
    started: float

    @property
    def port(self) -> int:
        """The port at which it listens, on the loopback interface."""
        return int(self.bootstrap.rpartition(":")[2])


def at(address: str) -> Broker:
    """Return the broker at an *address* such as `kafka://host:port`. Raises BadAddress."""
    servers = address.removeprefix(SCHEME)
    for server in servers.split(","):
        host, _, port = server.rpartition(":")
        if not host or "/" in host or not port.isdigit():
            raise BadAddress(address)
    return Broker(servers)


def start(
    folder: Path,
    *,
    port: int | None = None,
    heap_mb: int = 512,
    progress: Progress = lambda _: None,
) -> LocalBroker:
    """Start the broker of *folder* unless it runs; return it once it answers.

    Without *port* it takes its last port, else 9092, else a free one. Raises BrokerPortTaken,
    OtherPort, FolderUnusable, and the errors of `jars`, `java` and `node`. A broker that does not
    come up is ended.
    """
    files = _made(folder)
    with file_lock.held(files.lock):
        # Again: a purge may have removed it while we waited.
        files.create()
        running = _running(files)
        if running is None:
            node = _Start(files, _free_port(files, port), heap_mb)
            return _broker(files, node.run(_distribution(progress), progress))
        if port not in (None, running.port):
            raise OtherPort(_broker(files, running), port)
        kafka_node.await_answer(files, running.process, running.port)
        return _broker(files, running)


def find(folder: Path) -> LocalBroker | None:
    """Return the broker of *folder* if its process runs, whether it answers or not."""
    files = _files(folder)
    state = _running(files)
    return _broker(files, state) if state else None


def status(folder: Path) -> LocalBroker | None:
    """Return the broker of *folder* if it runs and answers."""
    files = _files(folder)
    state = _running(files)
    return _broker(files, state) if state and kafka_node.answers(files, state.port) else None


def stop(folder: Path, *, purge: bool = False) -> bool:
    """Stop the broker of *folder*; say whether it ran. With *purge* remove its topics and data."""
    files = _files(folder)
    if not files.lock.exists():
        return False
    with file_lock.held(files.lock):
        state = _running(files)
        if state and purge:
            state.process.kill()
        elif state:
            state.process.stop(kafka_node.STOP_SECONDS)
        if purge:
            files.purge()
    return state is not None


def kill(folder: Path) -> bool:
    """End the broker of *folder* with SIGKILL, like a crash; say whether it ran."""
    state = _running(_files(folder))
    if state:
        state.process.kill()
    return state is not None


def log_lines(folder: Path, last: int = 100) -> list[str]:
    """Return the last lines that the broker of *folder* wrote; none if it never ran."""
    return logs.last(_files(folder), last)


def follow_log(folder: Path, last: int = 100) -> Iterator[str]:
    """Yield the *last* lines of the log and then each new one, without end.

    Raises FileNotFoundError if no broker ever ran.
    """
    return logs.follow(_files(folder).server_log, last)


def topics(folder: Path) -> list[str]:
    """Return the topics that have data in *folder*, whether its broker runs or not."""
    return _files(folder).topics()


@contextmanager
def embedded(
    folder: Path | None = None,
    *,
    port: int | None = None,
    heap_mb: int = 512,
    progress: Progress = lambda _: None,
) -> Iterator[LocalBroker]:
    """A broker for the time of a `with` block.

    Without *folder* it gets a temporary one, which is removed at the end, and a port of its own.
    A broker that ran in *folder* before is used and left running.
    """
    place = folder or Path(tempfile.mkdtemp(prefix="fleet-kafka-"))
    if folder is None and port is None:
        port = ports.choose()
    is_ours = find(place) is None
    try:
        yield start(place, port=port, heap_mb=heap_mb, progress=progress)
    finally:
        if is_ours:
            stop(place, purge=folder is None)


def _files(folder: Path) -> Folder:
    return Folder(folder.resolve())


def _made(folder: Path) -> Folder:
    files = _files(folder)
    if "," in str(files.path):
        raise FolderUnusable(files.path, "Kafka takes a comma as the end of a path")
    try:
        files.create()
    except OSError as failure:
        raise FolderUnusable(files.path, str(failure.strerror)) from failure
    return files


def _running(files: Folder) -> State | None:
    state = State.read(files)
    return state if state and state.process.is_alive() else None


def _broker(files: Folder, state: State) -> LocalBroker:
    return LocalBroker(
        bootstrap=f"{ports.HOST}:{state.port}",
        pid=state.pid,
        folder=files.path,
        version=state.version,
        started=state.started,
    )


def _free_port(files: Folder, wanted: int | None) -> int:
    if wanted is not None:
        if not ports.is_free(wanted):
            raise BrokerPortTaken(wanted)
        return wanted
    before = State.read(files)
    # Its last port comes first: shells and workers may have that address in FLEET_BROKER.
    usual = [before.port, DEFAULT_PORT] if before else [DEFAULT_PORT]
    free = (port for port in usual if ports.is_free(port))
    return next(free, None) or ports.choose()


def _distribution(progress: Progress) -> Distribution:
    java.executable()
    lock, cache = jars.locked(), jars.cache_folder()
    kafka = Distribution(lock.kafka, jars.classpath(lock, cache, progress))
    return warmup.warmed(kafka, cache, progress)


@dataclass(frozen=True)
class _Start:
    """The start of a broker."""

    files: Folder
    port: int
    heap_mb: int

    def run(self, kafka: Distribution, progress: Progress) -> State:
        """Start it and wait for its answer; leave nothing running if that fails."""
        configuration.write(self.files, self.port, ports.choose(but=self.port))
        if self.files.cluster_id is None:
            progress(f"Preparing {self.files.data}")
            kafka_node.format_data(self.files, kafka)
        progress(f"Starting Apache Kafka {kafka.version} at {ports.HOST}:{self.port}")
        log_begin = self.files.log_size
        node = kafka_node.launch(self.files, kafka, self.heap_mb)
        try:
            # Before it answers: if we die here, the next command finds the broker.
            state = State(node.pid, node.birth, self.port, kafka.version, time.time())
            state.write(self.files)
            kafka_node.await_answer(self.files, node, self.port, log_begin=log_begin)
        except BaseException:
            node.kill()
            raise
        return state
