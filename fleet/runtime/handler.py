"""A run as its caller holds it: await it, follow its stream, send to it, cancel it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import Any, Generic, Protocol

from fleet.records.events import Event
from fleet.workflow.definition import Result_co
from fleet.workflow.errors import NotAvailableYet, WorkflowRuntimeError


class RunControl(Protocol):
    """How a handler reaches its run."""

    async def send_event(self, run_id: str, event: Event, step: str | None) -> None:
        """Send *event* to the run from outside."""
        ...

    async def cancel_run(self, run_id: str, reason: str) -> None:
        """Ask for the run to stop."""
        ...


class WorkflowHandler(Generic[Result_co]):
    """One run, from its start to its end.

    `await handler` gives the result: the `.result` of a plain StopEvent, else the result event
    itself. It raises what ended the run otherwise: the failed step's own error,
    WorkflowTimeoutError or WorkflowCancelledByUser.
    """

    def __init__(self, run_id: str, control: RunControl) -> None:
        #: The run's id, its key on every topic.
        self.run_id = run_id
        #: What has to stay alive for as long as somebody holds the run.
        self.keeps: object = None
        #: Somebody reads what the steps show.
        self.streaming = False
        self._control = control
        loop = asyncio.get_running_loop()
        self._result: asyncio.Future[Any] = loop.create_future()
        #: What the steps have shown and nobody has read; None at the end.
        self._shown: deque[Event | None] = deque()
        self._more: asyncio.Event | None = None
        self._background: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<WorkflowHandler {self.run_id} {'done' if self.is_done() else 'running'}>"

    def __await__(self) -> Generator[Any, None, Result_co]:
        # Shielded: whoever stops waiting does not cancel the run.
        return asyncio.shield(self._result).__await__()

    def is_done(self) -> bool:
        """Tell whether the run has ended."""
        return self._result.done()

    def result(self) -> Result_co:
        """Return the result of a run that is done; raise what ended it otherwise."""
        result: Result_co = self._result.result()
        return result

    def exception(self) -> BaseException | None:
        """Return what a run that is done ended with, or None."""
        return self._result.exception()

    def add_done_callback(self, callback: "Callable[[WorkflowHandler[Result_co]], object]") -> None:
        """Call *callback* with this handler when the run has ended."""
        self._result.add_done_callback(lambda _: callback(self))

    async def stream_events(self) -> AsyncIterator[Event]:
        """Yield what the steps show, and the result event last; for one reader, once."""
        self.streaming = True
        self._more = asyncio.Event()
        while True:
            while not self._shown:
                self._more.clear()
                await self._more.wait()
            event = self._shown.popleft()
            if event is None:
                return
            yield event

    def send_event(self, event: Event, step: str | None = None) -> "asyncio.Task[None]":
        """Send *event* to the run; awaiting what is returned tells that it is in the log."""
        return self._soon(self._control.send_event(self.run_id, event, step))

    async def cancel_run(self, reason: str = "") -> None:
        """Ask for the run to stop; awaiting the handler then raises WorkflowCancelledByUser."""
        await self._control.cancel_run(self.run_id, reason)

    @property
    def ctx(self) -> Any:
        """Refused in this version: the run's context lives with its worker."""
        raise NotAvailableYet("handler.ctx", "return what the caller needs in the result")

    # -- for the caller's side of the runtime ---------------------------------------------------

    def show(self, event: Event) -> None:
        """Hand *event* to the reader of the stream."""
        self._add(event)

    def end_stream(self) -> None:
        """Tell the reader of the stream that nothing follows."""
        self._add(None)

    def _add(self, event: Event | None) -> None:
        self._shown.append(event)
        if self._more is not None:
            self._more.set()

    def succeed(self, result: Any) -> None:
        """End with a result."""
        if not self._result.done():
            self._result.set_result(result)

    def fail(self, error: BaseException) -> None:
        """End with an error."""
        if not self._result.done():
            if isinstance(error, StopIteration):
                # A future takes no such exception.
                error = WorkflowRuntimeError(f"StopIteration: {error}")
            self._result.set_exception(error)
            # Whoever only follows the stream has seen the end, too.
            self._result.exception()

    def _soon(self, sending: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(sending)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task
