"""
Faster starts, by Java's ahead-of-time cache.

For most of a start Java loads and compiles Kafka's classes, the same ones each time. One start and
stop in a temporary folder records them, and later starts read the record. Measured on 2 shared
cores: 4.4 s and 4.3 s of CPU without it, 1.1 s and 1.8 s with it. Recording takes about 10 s, once
per machine and Java version. If it fails, starts are slower, and nothing else changes.
"""

import hashlib
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fleet.dev import file_lock, ports
from fleet.dev.kafka import configuration, java
from fleet.dev.kafka import node as kafka_node
from fleet.dev.kafka.folder import Folder
from fleet.dev.kafka.node import Distribution
from fleet.records.errors import FleetError

HEAP_MB = 256
#: Java writes the record after the node has stopped; that takes longer than the run itself.
RECORD_SECONDS = 90.0


def warmed(kafka: Distribution, cache: Path, progress: Callable[[str], object]) -> Distribution:
    """Return *kafka* with the options of a fast start, recorded into *cache* if need be."""
    record = cache / kafka.version / f"{_key(kafka)}.aot"
    # Without room or permission in the cache, the real start is a slow one.
    with suppress(OSError):
        if not record.exists():
            with file_lock.held(cache / "lock"):
                _record_once(kafka, record, progress)
        if record.stat().st_size:
            return replace(kafka, options=(f"-XX:AOTCache={record}",))
    return kafka


def _record_once(kafka: Distribution, record: Path, progress: Callable[[str], object]) -> None:
    # Again: the last holder of the lock may have made it.
    if record.exists():
        return
    progress("Preparing faster starts (once, some 10 s)")
    try:
        _train(kafka, record)
    # If this Java cannot record, an empty record says so, and later starts do not try again. If the
    # node does not come up, the real start reports why.
    except (FleetError, FileNotFoundError):
        record.touch()


def _key(kafka: Distribution) -> str:
    """Hash everything that a record depends on: Java, its options, the jars and their places."""
    parts = (java.version(), *java.OPTIONS, *map(str, kafka.classpath))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _train(kafka: Distribution, record: Path) -> None:
    with tempfile.TemporaryDirectory(dir=record.parent) as temporary:
        folder = Folder(Path(temporary))
        written = folder.path / "record.aot"
        folder.create()
        _run_once(folder, replace(kafka, options=(f"-XX:AOTCacheOutput={written}",)), kafka)
        for older in record.parent.glob("*.aot"):
            older.unlink()
        written.replace(record)


def _run_once(folder: Folder, recording: Distribution, kafka: Distribution) -> None:
    port = ports.choose()
    configuration.write(folder, port, ports.choose(but=port))
    kafka_node.format_data(folder, kafka)
    node = kafka_node.launch(folder, recording, HEAP_MB)
    try:
        kafka_node.await_answer(folder, node, port)
        node.stop(RECORD_SECONDS)
    except BaseException:
        node.kill()
        raise
