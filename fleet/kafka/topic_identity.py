"""
Which log a topic's name stands for now.

Kafka gives a topic an id when it is created (KIP-516), so a topic that was deleted and created
again has another id. aiokafka asks for metadata in versions without ids. So the request is written
here, in version 10, which brokers from 2.8 on answer.
"""

import base64
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any

from aiokafka.errors import IncompatibleBrokerVersion, UnknownTopicOrPartitionError
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

#: The id of a topic if the broker tells none.
UNKNOWN = ""
_BYTES = 16
_NO_ID = bytes(_BYTES)


class _Uuid(AbstractType[bytes]):
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(_BYTES)


_NODES: Any = CompactArray(Int32)
_PARTITION = (
    ("error_code", Int16),
    ("partition", Int32),
    ("leader", Int32),
    ("leader_epoch", Int32),
    ("replicas", _NODES),
    ("isr", _NODES),
    ("offline", _NODES),
    ("tags", TaggedFields),
)
_TOPIC = (
    ("error_code", Int16),
    ("topic", CompactString("utf-8")),
    ("topic_id", _Uuid),
    ("is_internal", Boolean),
    ("partitions", CompactArray(*_PARTITION)),
    ("authorized_operations", Int32),
    ("tags", TaggedFields),
)
_BROKER = (
    ("node_id", Int32),
    ("host", CompactString("utf-8")),
    ("port", Int32),
    ("rack", CompactString("utf-8")),
    ("tags", TaggedFields),
)


class _MetadataResponse(Response):
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(*_BROKER)),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        ("topics", CompactArray(*_TOPIC)),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataRequest(RequestStruct):
    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_id", _Uuid), ("topic", CompactString("utf-8")), ("tags", TaggedFields)
            ),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class MetadataWithIds(Request[_MetadataRequest]):
    """Asks for topics by name, in the one version that is written here."""

    API_KEY = 3

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)

    def build(self, request_struct_class: type[_MetadataRequest]) -> _MetadataRequest:
        """Return the request; it creates no topic."""
        topics: list[Any] = [(_NO_ID, name, {}) for name in self._names]
        return request_struct_class(topics, False, False, False, {})


async def ask(client: Any, names: Iterable[str]) -> Mapping[str, str]:
    """Return the id of each topic of *names*, UNKNOWN if the broker tells none.

    *client* is an `aiokafka.client.AIOKafkaClient`. A topic that does not exist is left out. Raises
    KafkaError.
    """
    wanted = list(names)
    request = MetadataWithIds(wanted)
    try:
        response = await client.send(client.get_random_node(), request)
    except (IncompatibleBrokerVersion, NotImplementedError):
        # A broker older than Kafka 2.8, or one that does not answer this version any more.
        return dict.fromkeys(wanted, UNKNOWN)
    return dict(_ids(response))


def _ids(response: Any) -> Iterable[tuple[str, str]]:
    for error, name, topic_id, *_ in response.topics:
        if error != UnknownTopicOrPartitionError.errno:
            yield name, shown(topic_id)


def shown(topic_id: bytes) -> str:
    """Return a topic id as Kafka's own tools show it."""
    if topic_id == _NO_ID:
        return UNKNOWN
    return base64.urlsafe_b64encode(topic_id).rstrip(b"=").decode()
