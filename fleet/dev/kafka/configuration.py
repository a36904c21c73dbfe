"""The configuration of an embedded broker: one node, for this machine alone, soon ready."""

from pathlib import Path

from fleet.dev.kafka.folder import Folder
from fleet.dev.ports import HOST

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
# Abort the transactions of a killed producer soon after their timeout.
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
# After a kill -9 the node waits until its own old session ends before it registers again. With a
# much shorter session, a machine that is busy for a moment would lose its only broker.
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


def write(folder: Folder, port: int, controller_port: int) -> None:
    """Write the configuration of a broker at *port* into *folder*."""
    server = SERVER.format(
        host=HOST, port=port, controller_port=controller_port, data=_property(folder.data)
    )
    folder.server_properties.write_text(server, "ascii")
    log = _property(folder.server_log)
    folder.logging_properties.write_text(LOGGING.format(log=log), "ascii")


def _property(path: Path) -> str:
    """Write a path for a Java properties file: ASCII, the rest as UTF-16 escapes."""
    units = str(path).encode("utf-16-be")
    codes = [int.from_bytes(units[i : i + 2]) for i in range(0, len(units), 2)]
    return "".join(_unit(code) for code in codes)


def _unit(code: int) -> str:
    is_plain = chr(code).isascii() and chr(code) != "\\"
    return chr(code) if is_plain else f"\\u{code:04x}"
