"""
What a broker's answer to a batch says of the log, and which answers are a record's own fault.

An answer that is not known to mean "not appended" means nothing: the batch may be there.
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
    """aiokafka has no class of this error."""

    errno = 87
    message = "INVALID_RECORD"
    description = "The record has failed the validation on the broker, hence be rejected."


#: Errors that aiokafka takes for unknown ones.
_MISSING: Mapping[int, type[KafkaError]] = {87: InvalidRecord, 90: ProducerFenced}

#: Trying again changes nothing: the records are at fault, or who may write to their topic.
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

#: A leader answers these before it appends. It says that it is not the leader, too, when it has
#: appended and then lost the partition; so that is not among them.
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
    """Raised when the broker did not append some batches, for sure; by partition, with reasons."""

    def __init__(self, reasons: Mapping[TopicPartition, Exception]) -> None:
        super().__init__(f"batches refused: {_said(reasons)}")
        self.reasons = dict(reasons)

    @property
    def is_final(self) -> bool:
        """Whether the records or the rights are at fault, so that trying again cannot help."""
        return all(isinstance(reason, REFUSED) for reason in self.reasons.values())


class BatchInDoubt(KafkaError):
    """Raised when the broker may or may not have appended a batch, and will not say."""

    def __init__(self, reasons: Mapping[TopicPartition, Exception]) -> None:
        super().__init__(f"batches in doubt: {_said(reasons)}")


def error_of(code: int) -> type[KafkaError]:
    """Return the class of an error code."""
    return _MISSING.get(code) or for_code(code)


def _said(reasons: Mapping[TopicPartition, Exception]) -> str:
    return ", ".join(f"{tp.topic} {tp.partition}: {why!r}" for tp, why in reasons.items())
