"""What a handler has under the names of LlamaIndex Workflows."""

from typing import Any, Generic, Protocol

from fleet.records.events import Event
from fleet.workflow.definition import Result_co
from fleet.workflow.errors import WorkflowCancelledByUser


class Handler(Protocol):
    """What these names are made of."""

    #: The event that carries the result, or says that the run was cancelled.
    result_event: Event | None

    def is_done(self) -> bool:
        """Tell whether the run has ended."""
        ...

    def exception(self) -> BaseException | None:
        """Return the error of a run that is done."""
        ...

    def cancel_soon(self) -> None:
        """Ask for the run to stop, without waiting."""
        ...

    def __await__(self) -> Any: ...


class OtherNames(Generic[Result_co]):
    """Of a handler."""

    def done(self: Handler) -> bool:
        """Tell whether the run has ended: `is_done`."""
        return self.is_done()

    def cancelled(self: Handler) -> bool:
        """Tell whether the run has ended because it was cancelled."""
        return self.is_done() and isinstance(self.exception(), WorkflowCancelledByUser)

    def cancel(self: Handler) -> None:
        """Ask for the run to stop, without waiting: `cancel_run`."""
        self.cancel_soon()

    def get_stop_event(self: Handler) -> Event | None:
        """Return the result event; None before the end, and of a run that failed or timed out.

        Of a run that was cancelled it is the WorkflowCancelledEvent.
        """
        return self.result_event

    async def stop_event_result(self: Handler) -> Event:
        """Return the result event when the run has ended; raise the error of a run without one."""
        await self
        assert self.result_event is not None, "a run without an error has a result event"
        return self.result_event
