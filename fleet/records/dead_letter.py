"""Records and steps that failed, as records of the `dead` topic."""

import enum

from pydantic import BaseModel, ConfigDict

from fleet.records.lifecycle import Failure

#: The header that makes a record a dead letter; its value is the JSON of a `DeadLetter`.
HEADER = "fleet-dead-letter"


class Reason(enum.StrEnum):
    """Why a record became a dead letter."""

    #: A step raised.
    FAILED = "failed"
    #: A record or an entry of the state would be larger than the broker takes.
    TOO_LARGE = "too_large"
    #: The broker refuses a record that a step sent.
    REFUSED = "refused"
    #: A step ended its process again and again.
    CRASHES_WORKER = "crashes_worker"
    #: The value is not that of the event type.
    UNDECODABLE = "undecodable"
    #: Suspended work is for a step that no version has had for some hours.
    UNKNOWN_STEP = "unknown_step"
    #: No step takes events of the type.
    UNKNOWN_TYPE = "unknown_type"
    #: The headers name no run or no event.
    BROKEN_ENVELOPE = "broken_envelope"
    #: A record of `runs` cannot be read.
    UNKNOWN_LIFECYCLE = "unknown_lifecycle"


class DeadLetter(BaseModel):
    """A record or step that failed, with the reason.

    The record's value is the original, untouched, or nothing if both do not fit one record.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    #: A `Reason`, or one that a newer version has.
    reason: str
    #: Empty if no step ran.
    step: str
    attempts: int
    topic: str
    partition: int
    offset: int
    failure: Failure
    #: Of a join: how many events it had. It has no record in a topic, so the offset says nothing.
    joined: int | None = None

    def encode(self) -> bytes:
        """Return the value of the header."""
        return self.__pydantic_serializer__.to_json(self)
