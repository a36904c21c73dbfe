"""How this process reaches Kafka: one place that turns settings into client arguments."""

import re
import ssl
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.client import CoordinationType
from aiokafka.errors import NoError, for_code
from aiokafka.protocol.admin import DescribeGroupsRequest

from fleet.config.settings import Settings
from fleet.kafka import header_names, topic_identity
from fleet.kafka.producer_thread import ProducerThread, ThreadedProducer
from fleet.kafka.stopping import KafkaReader, stop_reader
from fleet.kafka.transactional_producer import TransactionalProducer
from fleet.records.errors import ExitCode, FleetError

__all__ = [
    "BATCH_BYTES",
    "BrokerUnreachable",
    "Clients",
    "client_arguments",
    "stop_reader",
    "tls_context",
]

header_names.install()

#: Largest batch of one request and topic, in bytes; below the broker's default limit of 1 MiB.
BATCH_BYTES = 512 * 1024


class BrokerUnreachable(FleetError):
    """Raised when no broker answers.

    What to do: Start a broker with `fleet dev up`, or set `FLEET_BROKER` to the address of yours.
    Check network, TLS and credentials if it runs.
    """

    exit_code = ExitCode.UNREACHABLE
    permanent = False

    def __init__(self, settings: Settings, reason: BaseException) -> None:
        address = ",".join(settings.bootstrap_servers)
        # aiokafka repeats the addresses there, as Python writes them.
        told = re.sub(r" from \[\(.*\)\]", "", str(reason))
        super().__init__(
            f"no Kafka broker answers at {address} ({told}); start one with `fleet dev up`, or "
            "give its address with FLEET_BROKER=kafka://host:port"
        )


def client_arguments(settings: Settings) -> dict[str, Any]:
    """Return the arguments that every aiokafka client of this process takes."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "security_protocol": settings.security_protocol,
        "ssl_context": tls_context(settings),
    }
    if settings.security_protocol.startswith("SASL"):
        arguments |= {
            "sasl_mechanism": settings.security_mechanism,
            "sasl_plain_username": settings.security_username,
            "sasl_plain_password": settings.security_password.get_secret_value(),
        }
    return arguments


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context, or None if the connection is not encrypted."""
    if not settings.security_protocol.endswith("SSL"):
        return None
    context = ssl.create_default_context(cafile=settings.security_ca_file)
    if settings.security_cert_file is not None:
        context.load_cert_chain(settings.security_cert_file, settings.security_key_file)
    return context


class Clients:
    """Makes the aiokafka clients of this process; a simulation makes others."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._thread = ProducerThread()

    def producer(self, **options: Any) -> Any:
        """Return a producer that is not started."""
        codec = self._settings.compression
        return AIOKafkaProducer(
            **client_arguments(self._settings),
            compression_type=None if codec == "none" else codec,
            **options,
        )

    def transactional_producer(self, **options: Any) -> TransactionalProducer:
        """Return a producer of transactions that is not started."""
        return TransactionalProducer(self.producer(**options))

    def producer_apart(self, **options: Any) -> ThreadedProducer:
        """Return a producer of transactions that is not started, in a thread of their own."""
        return ThreadedProducer(self._thread, lambda: self.transactional_producer(**options))

    def reader(self, **options: Any) -> Any:
        """Return a consumer that is not started: in no group, of committed records only."""
        return KafkaReader(  # type: ignore[no-untyped-call]
            **client_arguments(self._settings),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            **options,
        )

    async def members(self, reader: Any, group: str) -> int:
        """Return how many members a consumer group has; see `members`."""
        return await members(reader._client, group)  # noqa: SLF001 - no public way

    async def log_ids(self, reader: Any, topics: Iterable[str]) -> Mapping[str, str]:
        """Return the ids of the topics that exist; see `topic_identity.ask`."""
        return await topic_identity.ask(reader._client, topics)  # noqa: SLF001 - no public way


async def members(client: Any, group: str) -> int:
    """Return how many members the consumer group *group* has; 0 if there is no such group.

    Asks the coordinator over *client*, an `aiokafka.client.AIOKafkaClient`: it joins nothing
    and changes nothing. Raises KafkaError.
    """
    node = await client.coordinator_lookup(CoordinationType.GROUP, group)
    await client.ready(node)
    response = await client.send(node, DescribeGroupsRequest([group], False))
    [(code, _, _, _, _, found, *_)] = response.groups
    if code != NoError.errno:
        raise for_code(code)(f"the broker does not describe the group {group}")
    return len(found)
