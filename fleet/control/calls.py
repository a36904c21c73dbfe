"""
One run of a workflow, made by a command: start it, show its stream, wait for its end.

The command only calls. If it stops, the run continues on the workers.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fleet.client.connection import Connection, connect
from fleet.client.handler import WorkflowHandler
from fleet.records import printable
from fleet.records.errors import ExitCode, FleetError
from fleet.records.events import Event
from fleet.workflow import call_checks, definition
from fleet.workflow.errors import WorkflowConfigurationError, WorkflowRuntimeError
from fleet.workflow.workflow import Workflow

#: How long to wait for the rest of the stream after the run's end, in seconds.
_STREAM_SECONDS = 5.0


class RunFailed(FleetError):
    """Raised when a step of a run failed. It names the step and its error.

    What to do: Correct the step that the message names, then resume the run with `fleet dead
    redrive`.
    """

    def __init__(self, run_id: str, error: BaseException) -> None:
        #: The engine's first note on the error says which step raised it; the stack follows.
        where = next(iter(getattr(error, "__notes__", ())), f"in run {printable.line(run_id)}")
        super().__init__(f"{told(error)} ({where})")


class CallRefused(FleetError):
    """Raised when a run cannot be started with these arguments.

    What to do: Correct the fields, the run id or the time limit that the message names. Nothing was
    started.
    """

    exit_code = ExitCode.REFUSED


@dataclass(frozen=True, slots=True)
class Call:
    """A run to be made. Calls with the same *run_id* start one run."""

    workflow: type[Workflow]
    event: Event
    run_id: str
    #: None sets no limit.
    timeout_seconds: float | None


async def result(
    call: Call,
    *,
    begun: Callable[[str], object],
    show: Callable[[Event], object] | None,
) -> Any:
    """Make the run and return its result.

    It calls *begun* with the run's id before the start, and *show* with each event that a step
    writes to the stream. Raises RunFailed, CallRefused, BrokerUnreachable, TopicsMissing,
    TopicsMismatched, WorkflowTimeoutError, WorkflowCancelledByUser and RunConflict.
    """
    check(call.timeout_seconds, call.run_id)
    async with connect(call.workflow, timeout=call.timeout_seconds) as flow:
        handler = _started(flow, call)
        begun(call.run_id)
        if show is None:
            return await outcome(handler)
        showing = asyncio.create_task(_show(handler, call.workflow, show))
        try:
            return await outcome(handler)
        finally:
            if handler.is_done():
                await asyncio.wait([showing], timeout=_STREAM_SECONDS)
            showing.cancel()


def check(timeout_seconds: float | None, run_id: str | None = None) -> None:
    """Raise CallRefused if no run can have this timeout or id."""
    try:
        call_checks.timeout(timeout_seconds)
        if run_id is not None:
            call_checks.run_id(run_id)
    except WorkflowConfigurationError as refused:
        raise CallRefused(str(refused)) from None


async def outcome(handler: WorkflowHandler) -> Any:
    """Wait for the result; raise RunFailed in place of a step's error."""
    try:
        return await handler
    except Exception as error:
        if isinstance(error, FleetError) and not hasattr(error, "__notes__"):
            raise
        raise RunFailed(handler.run_id, error) from error


def told(error: BaseException) -> str:
    """Return *error* in one line, with its type unless that adds nothing."""
    text = " ".join(str(error).split())
    # An error of a type that is not known here comes as this one, with its own type in the text.
    if isinstance(error, WorkflowRuntimeError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _started(flow: Connection, call: Call) -> WorkflowHandler:
    try:
        return flow.run(call.event, run_id=call.run_id)
    except WorkflowConfigurationError as refused:
        raise CallRefused(str(refused)) from None


async def _show(
    handler: WorkflowHandler, workflow: type[Workflow], show: Callable[[Event], object]
) -> None:
    async for event in handler.stream_events():
        # The result closes the stream; the command prints it itself.
        if not definition.graph(workflow).is_result(event):
            show(event)
