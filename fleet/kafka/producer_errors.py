"""
What a broker's answer to a batch tells about the log, and which answers are a record's own fault.

Only the answers listed here mean "not appended". After any other one the batch may be in the log.
"""

from collections.abc import Mapping

from aiokafka import TopicPartition
from aiokafka.errors import (
    BrokerResponseError,
    ClusterAuthorizationFailedError,
    CorruptRecordException,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidRequiredAcksError,
    InvalidTimestampError,
    InvalidTopicError,
    InvalidTxnState,
    KafkaError,
    MessageSizeTooLargeError,
    NotEnoughReplicasError,
    OutOfOrderSequenceNumber,
    PolicyViolationError,
    ProducerFenced,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedForMessageFormatError,
    for_code,
)


class InvalidRecord(BrokerResponseError):
    """The broker's validation refused a record; aiokafka has no class for this error."""

    errno = 87
    message = "INVALID_RECORD"
    description = "The record has failed the validation on the broker, hence be rejected."


#: Errors that aiokafka does not know.
_MISSING: Mapping[int, type[KafkaError]] = {87: InvalidRecord, 90: ProducerFenced}

#: Trying again changes nothing: the records are at fault, or the rights to their topic.
REFUSED = (
    InvalidRecord,
    InvalidTimestampError,
    InvalidTopicError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnsupportedForMessageFormatError,
)

#: A leader answers these before it appends. NotLeaderForPartition is not among them: a leader also
#: answers it if it loses the partition after it has appended.
NOT_APPENDED = (
    *REFUSED,
    ClusterAuthorizationFailedError,
    CorruptRecordException,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidRequiredAcksError,
    InvalidTxnState,
    NotEnoughReplicasError,
    OutOfOrderSequenceNumber,
    TransactionalIdAuthorizationFailed,
)


class BatchesRefused(KafkaError):
    """Raised when the broker has certainly not appended some batches, with their reasons."""

    def __init__(self, reasons: Mapping[TopicPartition, Exception]) -> None:
        super().__init__(f"batches refused: {_said(reasons)}")
        self.reasons = dict(reasons)

    @property
    def is_final(self) -> bool:
        """Whether the records or the rights are at fault, so that trying again cannot help."""
        return all(isinstance(reason, REFUSED) for reason in self.reasons.values())


class BatchInDoubt(KafkaError):
    """Raised when it is unknown whether the broker has appended a batch."""

    def __init__(self, reasons: Mapping[TopicPartition, Exception]) -> None:
        super().__init__(f"batches in doubt: {_said(reasons)}")


def error_of(code: int) -> type[KafkaError]:
    """Return the class of an error code."""
    return _MISSING.get(code) or for_code(code)


def _said(reasons: Mapping[TopicPartition, Exception]) -> str:
    return ", ".join(f"{tp.topic} {tp.partition}: {reason!r}" for tp, reason in reasons.items())
