"""
The step that awaits a run, and the record by which it hears of the run's end.

A start event that a step sends to another workflow names the step in a header. The run keeps that,
and its group answers to the inbox of the step's workflow.
"""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from fleet.records.limits import RUN_ID_BYTES

#: The type of the record that tells a step of the end of a run. No event type can have this name:
#: it is none of a topic.
ENDED = "child:ended"
#: How many runs may be inside of each other: more are taken for a recursion without an end.
MOST_NESTED = 20

#: A part of a state key, so without a NUL.
Text = Annotated[str, Field(min_length=1, max_length=2 * RUN_ID_BYTES, pattern=r"^[^\x00]*$")]
Count = Annotated[int, Field(ge=0, lt=2**31)]


class _Header(BaseModel):
    """Base of what is in a header, as JSON."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def written(self) -> str:
        """Return the header's value."""
        return self.__pydantic_serializer__.to_json(self).decode()

    @classmethod
    def read(cls, value: str | bytes) -> Self:
        """Read a header's value; raise ValueError."""
        return cls.model_validate_json(value)


class Caller(_Header):
    """The step that awaits a run: the header of the run's start event."""

    #: Where its topics are: `<prefix>.<workflow>`.
    workflow: Text
    run_id: Text
    partition: Count
    event_id: Text
    step: Text
    #: The name of its recorded call.
    call: Text
    #: How many runs are around the one that it awaits.
    depth: Count = 1


class Told(_Header):
    """Which run has ended: the header of the record that tells a step so."""

    run_id: Text
    epoch: Count = 0
    #: The kind of the terminal record, which is the value.
    kind: Text
    #: What the step has called: see `Caller`.
    event_id: Text
    call: Text
