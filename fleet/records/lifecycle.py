"""
What happens to a run, as records of the `runs` topic.

The kind is the envelope's type, the rest is the value. A partition may hold several terminal
records of one run; `effective_end` says which one counts.
"""

from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

from fleet.records import outcomes
from fleet.records.envelope import MAX_TIMEOUT_SECONDS
from fleet.records.errors import FleetError
from fleet.records.events import problems

#: Other clients can write to a topic. The reader refuses values that no worker writes.
Offset = Annotated[int, Field(ge=0, lt=2**63)]
Timeout = Annotated[float, Field(ge=0, le=MAX_TIMEOUT_SECONDS, allow_inf_nan=False)]


class UnknownLifecycle(FleetError):
    """Raised when this version cannot read a record of the `runs` topic.

    What to do: Upgrade this process: a newer version may have written the record.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(
            f"a record of kind {kind!r} in the runs topic cannot be read ({reason}); "
            "a newer version may have written it: upgrade this one"
        )


class UnknownKind(UnknownLifecycle):
    """Raised for a kind that this version does not know; the record waits for one that does.

    What to do: Upgrade this process to the version that wrote the record.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind, "unknown kind")


class Lifecycle(BaseModel):
    """Base of the records; `kind` is the envelope's type."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    kind: ClassVar[str]
    #: Whether it ends the run.
    terminal: ClassVar[bool] = False

    def encode(self) -> bytes:
        """Return the record's value."""
        return self.__pydantic_serializer__.to_json(self)


class Started(Lifecycle):
    """The owner group accepted the start event; its append time is the base of the deadline."""

    kind = "started"
    start_event_id: str
    #: None if the run has no time limit.
    timeout_seconds: Timeout | None = None
    #: A reader that begins here cannot miss the run's end, even one written before this record.
    read_from: Offset = 0
    #: The run waits for a place (`num_concurrent_runs`). Another record follows when it begins, and
    #: that one is the base of the deadline.
    queued: bool = False
    #: The workflow and the run whose step awaits this run; empty if none does.
    parent_workflow: str = ""
    parent_run: str = ""

    def encode(self) -> bytes:
        """Return the record's value, without what is not so."""
        return self.__pydantic_serializer__.to_json(self, exclude_defaults=True)


class Known(Lifecycle):
    """A start event came for a known run, so nothing was started."""

    kind = "known"
    #: Id of the repeated start event. Its sender recognises the answer by it.
    start_event_id: str
    #: Offset of the effective end in this partition; None while the run is open.
    end_offset: Offset | None = None
    #: A reader that begins here cannot miss an end that is still to come.
    read_from: Offset = 0
    #: The repeated start event had other fields than the first.
    conflict: bool = False
    #: The run waits for a place; see `Started`.
    queued: bool = False


class Completed(Lifecycle):
    """A step returned the result."""

    kind = outcomes.COMPLETED
    terminal = True
    step: str
    #: The result event: its type name and its JSON.
    event_type: str
    event: str
    #: The run's context when the step returned it, as a JSON object; empty if there is none.
    context: str = ""
    #: How large the context is, in bytes, if the record cannot hold it.
    context_bytes: int = 0

    def encode(self) -> bytes:
        """Return the record's value; of a run without a context it has nothing about that."""
        return self.__pydantic_serializer__.to_json(self, exclude_defaults=True)


class Failure(BaseModel):
    """An exception as data: enough to raise it again in another process and to find its cause."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    module: str
    type: str
    message: str
    #: The exception's arguments as JSON, or their repr if JSON has no such values.
    args: tuple[Any, ...] = ()
    #: Its attributes that are plain JSON values; see `fleet.workflow.failing.attributes`.
    attributes: dict[str, Any] = Field(default_factory=dict)
    stack: str = ""


class Failed(Lifecycle):
    """A step failed, or one of the run's records could not be processed."""

    kind = outcomes.FAILED
    terminal = True
    #: Empty if no step ran, as for an undecodable record.
    step: str
    event_id: str
    attempt: int = 1
    #: From the beginning of the first attempt to the failure; None if that is not known.
    elapsed_seconds: float | None = None
    failure: Failure


class Cancelled(Lifecycle):
    """A caller or an operator asked for the run to stop."""

    kind = outcomes.CANCELLED
    terminal = True
    reason: str = ""


class TimedOut(Lifecycle):
    """The run's deadline passed."""

    kind = outcomes.TIMED_OUT
    terminal = True
    timeout_seconds: Timeout
    #: Names of the steps in flight in the owner group, sorted.
    active_steps: tuple[str, ...] = ()
    #: What its suspended steps waited for, in words, such as `nap: sleeps until ...`.
    waiting: tuple[str, ...] = ()


class Resumed(Lifecycle):
    """A request that a run without a result goes on.

    The envelope's epoch is the new one, the next after that of the end. Its event id names the
    request, and the owner group answers with a `Resumption`. The append time is the base of the
    run's new deadline.
    """

    kind = "resumed"
    reason: str = ""
    #: Event id and step of work that makes its recorded calls again.
    fresh: tuple[tuple[str, str], ...] = ()


class Resumption(Lifecycle):
    """The owner group's answer to a request to resume; the envelope's epoch is the request's."""

    kind = "resumption"
    #: Event id of the `resumed` record.
    request_id: str
    #: Why it was not taken, in a sentence; empty if the run goes on.
    refused: str = ""


_KINDS: dict[str, type[Lifecycle]] = {
    record.kind: record
    for record in (Started, Known, Completed, Failed, Cancelled, TimedOut, Resumed, Resumption)
}


def decode(kind: str, value: bytes) -> Lifecycle:
    """Read a record of the `runs` topic; raise UnknownKind or UnknownLifecycle if it cannot."""
    record = _KINDS.get(kind)
    if record is None:
        raise UnknownKind(kind)
    try:
        return record.model_validate_json(value)
    except Exception as failure:  # noqa: BLE001 - the boundary: other clients may have written it
        raise UnknownLifecycle(kind, problems(failure)) from None


#: Outcomes of an attempt. One that is `RETRIED` failed, and another follows; one that is
#: `SUSPENDED` is made again from its top, when what it waits for is there.
RETURNED, RAISED, RETRIED, SUSPENDED = "returned", "raised", "retried", "suspended"
#: How many of the events that a step sent its record names.
MOST_SENT = 100


class StepRecord(BaseModel):
    """One attempt of a step, as a record of the `history` topic. Times are unix seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    kind: ClassVar[str] = "step"
    step: str
    group: str
    event_id: str
    event_type: str
    attempt: int
    queued: float
    started: float
    finished: float
    #: `RETURNED`, `RAISED`, `RETRIED` or `SUSPENDED`.
    outcome: str
    #: Types of the events it sent, in order, at most `MOST_SENT`.
    sent: tuple[str, ...] = ()
    #: The runs that the attempt has suspended its step for: the workflow and the id of each.
    children: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Return the record's value."""
        return self.__pydantic_serializer__.to_json(self)

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a record's value."""
        return cls.model_validate_json(value)
