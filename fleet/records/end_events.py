"""
How a run without a result ended, as the last event of its stream.

No record holds these events: a reader makes each from the run's effective end in `runs`.
"""

from typing import Annotated

from pydantic import Field, InstanceOf, PlainSerializer

from fleet.records.events import StopEvent


def _as_data(error: Exception) -> dict[str, str]:
    kind = type(error)
    return {
        "exception_type": f"{kind.__module__}.{kind.__qualname__}",
        "exception_message": str(error),
    }


#: An exception as it is. As JSON it is its type and its text.
Raised = Annotated[InstanceOf[Exception], PlainSerializer(_as_data, return_type=dict[str, str])]


class WorkflowFailedEvent(StopEvent):
    """The last event on the stream of a run that failed."""

    #: The step; empty if the run failed before a step could run.
    step_name: str
    #: What `await handler` raises.
    exception: Raised
    #: How often the step was tried; None if no step was.
    attempts: int | None = None
    #: From the first attempt to the failure, in seconds; None if that is not known.
    elapsed_seconds: float | None = None


class WorkflowTimedOutEvent(StopEvent):
    """The last event on the stream of a run whose time was up."""

    #: The run's time limit, in seconds.
    timeout: float
    #: Names of the steps that ran then, sorted.
    active_steps: list[str]
    #: What its suspended steps waited for, in words.
    waiting: list[str] = Field(default_factory=list)


class WorkflowCancelledEvent(StopEvent):
    """The last event on the stream of a run that was cancelled."""
