"""
Who changed what with the command line, as records of `<prefix>.audit`.

A command writes its record before its first change. Then every change has a record, although a
record may stand for a change that was interrupted.
"""

import getpass
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from aiokafka.errors import KafkaError
from pydantic_core import to_jsonable_python

from fleet.config.settings import Settings
from fleet.control import times
from fleet.kafka import provision, topic_reader
from fleet.kafka.clients import BrokerUnreachable, Clients
from fleet.records.errors import FleetError
from fleet.records.log import Delivered
from fleet.records.topics import audit as topic_name


class NotAudited(FleetError):
    """Raised when a command cannot write its audit record. It has changed nothing.

    What to do: Allow this client to write to the audit topic, then repeat the command.
    """

    def __init__(self, topic: str, reason: BaseException) -> None:
        super().__init__(
            f"nothing was changed: {topic} did not take the audit record ({reason}); check that "
            "this client may write to it"
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """One audit record."""

    #: Unix seconds, by the clock of the machine that the command ran on.
    at: float
    #: `user@host`.
    who: str
    command: str
    workflow: str
    reason: str
    details: Mapping[str, Any]

    def encode(self) -> bytes:
        """Return the record's value."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(to_jsonable_python(fields), ensure_ascii=False).encode()

    @classmethod
    def decode(cls, record: Delivered) -> Self | None:
        """Read a record; None if it is no audit record."""
        try:
            found = json.loads(record.value or b"")
            return cls(**{name: found[name] for name in cls.__slots__})
        except (ValueError, KeyError, TypeError):
            return None


async def record(  # noqa: PLR0913 - by name, each a field of the record
    settings: Settings,
    *,
    command: str,
    workflow: str,
    reason: str,
    details: Mapping[str, Any],
    producer: Any = None,
) -> None:
    """Write an audit record; return when the brokers have acknowledged it.

    *command* is its name, such as `dead redrive`. *producer* is a started one with acks=all;
    without it this makes one. On a broker of this machine it creates a missing topic. Raises
    TopicsMissing, BrokerUnreachable and NotAudited.
    """
    await provision.ensure_audit(settings)
    entry = Entry(time.time(), _who(), command, workflow, reason, details)
    if producer is not None:
        await _send(settings, producer, entry)
        return
    own = Clients(settings).producer(enable_idempotence=True)
    try:
        await own.start()
        await _send(settings, own, entry)
    except (KafkaError, OSError) as failure:
        raise BrokerUnreachable(settings, failure) from None
    finally:
        await own.stop()


async def _send(settings: Settings, producer: Any, entry: Entry) -> None:
    topic = topic_name(settings.prefix)
    try:
        await producer.send_and_wait(topic, key=entry.workflow.encode(), value=entry.encode())
    except KafkaError as failure:
        raise NotAudited(topic, failure) from None


def _who() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # the user of a container may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


async def entries(settings: Settings, since: datetime | None = None) -> list[Entry]:
    """Return the audit records of a prefix, the oldest first; raise BrokerUnreachable."""
    topic = topic_name(settings.prefix)
    count = await provision.partitions(topic, settings)
    found: list[Entry] = []

    def take(record: Delivered) -> None:
        if entry := Entry.decode(record):
            found.append(entry)

    since_ms = times.milliseconds(since) if since else None
    async with topic_reader.connected(settings) as reader:
        await reader.take_all(topic_reader.partitions(topic, count), take, since_ms)
    return sorted(found, key=lambda entry: entry.at)
