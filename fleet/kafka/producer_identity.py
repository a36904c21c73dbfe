"""
InitProducerId of a producer that has an id already (KIP-360): it takes a new epoch of the same id.

aiokafka knows only the request's oldest version, which fences the holder of the transactional id.
From version 3 on the request names the producer's id and epoch, and the broker refuses it if
another producer has taken the transactional id since. The broker then also refuses late requests of
the old epoch.
"""

from typing import Any, ClassVar, NamedTuple

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactString, Int16, Int32, Int64, Schema, TaggedFields


class Identity(NamedTuple):
    """A transactional producer's identity in every request, with the names of aiokafka's fields."""

    transactional_id: str
    producer_id: int
    producer_epoch: int


class _Answer(Response):
    API_KEY = 22
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("tags", TaggedFields),
    )


class _Struct(RequestStruct):
    API_KEY = 22
    API_VERSION = 3
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        ("transactional_id", CompactString("utf-8")),
        ("transaction_timeout_ms", Int32),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("tags", TaggedFields),
    )


class RenewProducerIdRequest(Request[_Struct]):
    """Asks for a new epoch of *identity*; no transaction of it may be open."""

    API_KEY: ClassVar[int] = 22

    def __init__(self, identity: Identity, transaction_timeout_ms: int) -> None:
        self.identity = identity
        self.transaction_timeout_ms = transaction_timeout_ms

    def build(self, request_struct_class: type[_Struct]) -> Any:
        """Return the request's fields."""
        name, producer_id, epoch = self.identity
        return request_struct_class(name, self.transaction_timeout_ms, producer_id, epoch, {})
