"""
Which broker answers, asked in Kafka's own protocol.

An open port is not enough: a broker listens before it is ready, and another broker may listen
there. A ready broker names itself and its cluster in its answer to a metadata request. The probe
uses plain sockets, so it works with and without an event loop.
"""

import socket
import struct

from aiokafka.protocol.api import RequestHeader_v1
from aiokafka.protocol.metadata import MetadataRequest_v2, MetadataResponse_v2

from fleet.dev.ports import HOST

TIMEOUT_SECONDS = 2.0
_SIZE = struct.Struct(">i")


def cluster_id(port: int) -> str | None:
    """Return the cluster of the broker that is ready for work at *port* of this machine."""
    try:
        with socket.create_connection((HOST, port), TIMEOUT_SECONDS) as connection:
            connection.sendall(_question())
            answer = _received(connection, *_SIZE.unpack(_received(connection, _SIZE.size)))
        # The first four bytes repeat the request's number.
        metadata = MetadataResponse_v2.decode(answer[4:])
    # No connection, or an answer that is not Kafka's.
    except (OSError, ValueError):
        return None
    return str(metadata.get_item("cluster_id")) if metadata.get_item("brokers") else None


def _question() -> bytes:
    request = MetadataRequest_v2([])
    header = RequestHeader_v1(request, correlation_id=1, client_id="fleet")
    content = header.encode() + request.encode()
    return _SIZE.pack(len(content)) + content


def _received(connection: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = connection.recv(size - len(content))
        if not part:
            raise ConnectionResetError
        content += part
    return content
