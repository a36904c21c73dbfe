"""What the engine and callers stand on: Kafka's log and RocksDB's local state."""

from fleet.config import platforms

# Before any module of this package: several import what only POSIX systems have.
platforms.check_here()
