"""
What is in the folder of an embedded broker: its data, configuration, logs, and who runs it.

Only these names are ever written or removed, so a folder that holds other things keeps them.
"""

import json
import re
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from fleet.dev.ports import HOST
from fleet.dev.processes import Process

SERVER = """\
# Written by Fleet at every start; changes are lost.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}

# A missing topic is an error that Fleet explains, not a topic with the wrong settings.
auto.create.topics.enable=false
log.retention.hours=168
log.segment.bytes=134217728

# One node, so one copy of everything; few partitions, so that it starts quickly.
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1

# A consumer group of one machine need not wait for members that may still come.
group.initial.rebalance.delay.ms=0
# Transactions of a killed producer are aborted soon after their timeout.
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
# After a kill -9 the node waits for its own old session to end before it registers anew. Much
# shorter, and a machine that is busy for a moment would lose its only broker.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# The default takes 128 MB of the heap at the start.
log.cleaner.dedupe.buffer.size=16777216
"""

LOGGING = """\
# Written by Fleet at every start; changes are lost.
status=warn
shutdownHook=disable
appender.file.type=RollingFile
appender.file.name=file
appender.file.fileName={log}
appender.file.filePattern={log}.%i
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{{ISO8601}} %-5p %m (%c{{1}})%n
appender.file.policies.type=Policies
appender.file.policies.size.type=SizeBasedTriggeringPolicy
appender.file.policies.size.size=10MB
appender.file.strategy.type=DefaultRolloverStrategy
appender.file.strategy.max=3
rootLogger.level=info
rootLogger.appenderRef.file.ref=file
# A page with every setting, several times per start.
logger.settings.name=org.apache.kafka.common.config.AbstractConfig
logger.settings.level=warn
"""

_CLUSTER = re.compile(r"^cluster\.id=(?P<id>.+)$", re.MULTILINE)
_PARTITION = re.compile(r"(?!__)(?P<topic>.+)-\d+")


@dataclass(frozen=True)
class State:
    """Which process was started last in a folder."""

    pid: int
    #: As in `Process.birth`.
    birth: str
    port: int
    #: Of Apache Kafka.
    version: str
    #: Unix time.
    started: float

    @property
    def process(self) -> Process:
        """The process, which may have ended."""
        return Process(self.pid, self.birth)


@dataclass(frozen=True)
class Folder:
    """The files of one broker."""

    path: Path

    @property
    def data(self) -> Path:
        """The partitions; Kafka's own."""
        return self.path / "data"

    @property
    def logs(self) -> Path:
        """What the broker wrote for people."""
        return self.path / "logs"

    @property
    def server_log(self) -> Path:
        """Kafka's log. `.1` to `.3` are older."""
        return self.logs / "server.log"

    @property
    def log_size(self) -> int:
        """How many bytes the log has."""
        return self.server_log.stat().st_size if self.server_log.exists() else 0

    @property
    def java_log(self) -> Path:
        """What the Java runtime itself said since the last start; empty as a rule."""
        return self.logs / "java.log"

    @property
    def temporary(self) -> Path:
        """Where Java unpacks its native libraries."""
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
        """Who runs it. It stays when the broker stops, so that the next one takes its port."""
        return self.path / "broker.json"

    @property
    def lock(self) -> Path:
        """Held while the broker is started or stopped."""
        return self.path / "lock"

    @property
    def cluster_id(self) -> str | None:
        """Which cluster the data is of; none where it is not formatted, for this comes last."""
        file = self.data / "meta.properties"
        found = _CLUSTER.search(file.read_text()) if file.exists() else None
        return found["id"] if found else None

    def create(self) -> None:
        """Make the folders and the lock file. Raises OSError."""
        for folder in (self.path, self.data, self.logs, self.temporary):
            folder.mkdir(parents=True, exist_ok=True)
        self.lock.touch()

    def configure(self, port: int, controller_port: int) -> None:
        """Write the configuration for a broker at *port*."""
        server = SERVER.format(
            host=HOST, port=port, controller_port=controller_port, data=_property(self.data)
        )
        self.server_properties.write_text(server, "ascii")
        self.logging_properties.write_text(LOGGING.format(log=_property(self.server_log)), "ascii")

    def state(self) -> State | None:
        """Read who was started last; nothing where nobody was, or the file is damaged."""
        try:
            return State(**json.loads(self.state_file.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def remember(self, state: State) -> None:
        """Note who was started."""
        written = self.state_file.with_suffix(".new")
        written.write_text(json.dumps(asdict(state)))
        written.replace(self.state_file)

    def topics(self) -> list[str]:
        """Return the topics that have data here, Kafka's own excepted."""
        found = (_PARTITION.fullmatch(folder.name) for folder in self.data.glob("*/"))
        return sorted({partition["topic"] for partition in found if partition})

    def purge(self) -> None:
        """Remove all of it, and the folder when nothing else is in it."""
        for folder in (self.data, self.logs, self.temporary):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.server_properties, self.logging_properties, self.state_file, self.lock):
            file.unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()


def _property(path: Path) -> str:
    """Write a path as a Java properties file wants it: Latin-1 at most, the rest as UTF-16."""
    units = str(path).encode("utf-16-be")
    codes = [int.from_bytes(units[i : i + 2]) for i in range(0, len(units), 2)]
    return "".join(_unit(code) for code in codes)


def _unit(code: int) -> str:
    is_plain = chr(code).isascii() and chr(code) != "\\"
    return chr(code) if is_plain else f"\\u{code:04x}"
