"""A run as its caller holds it: await it, follow its stream, send to it, cancel it."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol

from fleet.client.other_names import OtherNames
from fleet.client.run_context import ContextSource, FinalContext, RunContext
from fleet.client.streams.event_stream import EventStream
from fleet.client.streams.reader import EventReader
from fleet.records import printable
from fleet.records.end_events import WorkflowCancelledEvent
from fleet.records.events import Event, type_name
from fleet.workflow import arguments
from fleet.workflow.definition import Result_co
from fleet.workflow.errors import RunEnded, WorkflowRuntimeError


class RunControl(ContextSource, Protocol):
    """How a handler reaches its run."""

    def check_event(self, event: Event, step: str | None) -> None:
        """Raise UnacceptedEvent if *event* is none, or *step* does not take it."""
        ...

    async def send_event(self, run_id: str, event: Event, step: str | None) -> None:
        """Send *event* to the run from outside."""
        ...

    async def cancel_run(self, run_id: str, reason: str) -> None:
        """Ask for the run to stop."""
        ...

    async def until_no_worker(self) -> None:
        """Return once the broker says that the step group has no worker."""
        ...


class NotEnded(WorkflowRuntimeError, asyncio.InvalidStateError):
    """Raised when you ask for the outcome of a run that goes on.

    What to do: Write `await handler`, or ask `is_done()` first.
    """

    def __init__(self, run_id: str, asked: str) -> None:
        super().__init__(
            f"run {printable.line(run_id)} goes on, so it has no {asked}() yet; write "
            "`await handler`, or ask is_done() first"
        )


class WorkflowHandler(OtherNames[Result_co], Generic[Result_co]):
    """One run, from its start to its end.

    `await handler` gives the result: the `.result` of a plain StopEvent, else the result event
    itself. A run without a result raises the failed step's own error, WorkflowTimeoutError or
    WorkflowCancelledByUser.
    """

    def __init__(
        self,
        run_id: str,
        control: RunControl,
        stream: EventStream,
        *,
        others_may_run: bool = False,
        keeps: object = None,
    ) -> None:
        #: The run's id, its key on every topic.
        self.run_id = run_id
        #: Stays alive for as long as the handler does.
        self._keeps = keeps
        #: The log has the run's end. A handler that is done without it has only stopped waiting.
        self.has_ended = False
        #: How the run ended: `completed`, `failed`, `cancelled` or `timed_out`; empty before.
        self.outcome = ""
        #: The run had begun before this start: another start had the same id.
        self.was_known = False
        #: The context that the run's result came with; None if the run has no result yet.
        self.final_context: FinalContext | None = None
        #: The event that carries the result, or says that the run was cancelled.
        self.result_event: Event | None = None
        #: What the steps show.
        self.stream = stream
        self._control = control
        loop = asyncio.get_running_loop()
        self._result: asyncio.Future[Any] = loop.create_future()
        #: Done when the workers have said whose run has this id; None if the id is new.
        self._judged: asyncio.Future[None] | None = loop.create_future() if others_may_run else None
        self._background: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        state = "done" if self.is_done() else "running"
        return f"<WorkflowHandler {printable.line(self.run_id)} {state}>"

    def __await__(self) -> Generator[Any, None, Result_co]:
        # Shielded: to stop waiting is not to cancel the run.
        return asyncio.shield(self._result).__await__()

    def is_done(self) -> bool:
        """Tell whether the run has ended."""
        return self._result.done()

    def result(self) -> Result_co:
        """Return the result of a run that is done, or raise its error."""
        self._check_ended("result")
        result: Result_co = self._result.result()
        return result

    def exception(self) -> BaseException | None:
        """Return the error of a run that is done; None if it has a result."""
        self._check_ended("exception")
        return self._result.exception()

    def _check_ended(self, asked: str) -> None:
        if not self.is_done():
            raise NotEnded(self.run_id, asked)

    def add_done_callback(self, callback: "Callable[[WorkflowHandler[Result_co]], object]") -> None:
        """Call *callback* with this handler when the run has ended."""
        self._result.add_done_callback(lambda _: callback(self))

    @arguments.checked({}, named="stream_events")
    def stream_events(
        self, expose_internal: bool = False, *, after: str | None = None
    ) -> EventReader:
        """Iterate over the events that the steps show, from the first to the result event.

        The last event of a run without a result is a WorkflowFailedEvent, WorkflowTimedOutEvent or
        WorkflowCancelledEvent; `await handler` then raises the error.
        With *expose_internal* also over what Fleet shows: an UnhandledEvent for each event that no
        step accepts, and a StreamRestarted when a step that has shown events runs again. Call it as
        often as you like: each `async for` sees every event once.
        The iterator's `.cursor` is a text that says where the last event stands. With *after*, a
        cursor of the same run, you get what follows: also in another process, after a crash. Raises
        BadCursor if *after* is none of this run; the iterator raises StreamGone if the log has lost
        what follows.
        """
        return self.stream.read(after, expose_internal=expose_internal)

    @arguments.checked({}, named="send_event")
    def send_event(self, event: Event, step: str | None = None) -> "asyncio.Task[None]":
        """Send *event* to the run; await the returned task to know that the log has it.

        Without *step* every step that accepts *event* gets it. If none does, an UnhandledEvent
        on the stream says so. If you chose the *run_id*, the event waits until the workers say that
        the run is this one. Raises UnacceptedEvent at once if *step* does not take *event*. The
        task raises RunConflict, or RunEnded after the end.
        """
        self._control.check_event(event, step)
        return self._soon(self._send(event, step))

    async def _send(self, event: Event, step: str | None) -> None:
        await self._until_judged()
        if self.has_ended:
            raise RunEnded(self.run_id, type_name(event))
        await self._control.send_event(self.run_id, event, step)

    @arguments.checked({}, named="cancel_run")
    async def cancel_run(self, reason: str = "", *, timeout: float | None = None) -> None:
        """Ask for the run to stop; `await handler` then raises WorkflowCancelledByUser.

        Returns when the log has the request; with *timeout* when the run has ended, at the latest
        after that number of seconds. Does nothing if the run has ended. Raises RunConflict if the
        workers say that the id is another run's. Without a worker, no run of this id will begin.
        """
        await self._until_judged_or_no_worker()
        if not self.has_ended:
            await self._control.cancel_run(self.run_id, reason)
        if timeout is not None:
            await asyncio.wait([self._result], timeout=timeout)

    def cancel_soon(self) -> None:
        """Ask for the run to stop, in the background."""
        self._soon(self.cancel_run())

    async def _until_judged(self) -> None:
        """Wait until the workers say that the id is this run's; raise RunConflict if it is not."""
        if self._judged is not None:
            await asyncio.shield(self._judged)

    async def _until_judged_or_no_worker(self) -> None:
        if self._judged is None:
            return
        no_worker = asyncio.ensure_future(self._control.until_no_worker())
        try:
            await asyncio.wait((self._judged, no_worker), return_when=asyncio.FIRST_COMPLETED)
        finally:
            no_worker.cancel()
        if self._judged.done():
            self._judged.result()

    @cached_property
    def ctx(self) -> RunContext:
        """The run's context, to be read: `await handler.ctx.store.get_state()`."""
        return RunContext(self, self._control)

    async def until_done(self) -> None:
        """Return once the handler is done, whatever with."""
        await asyncio.wait([self._result])

    # -- for the caller's side of the runtime ---------------------------------------------------

    def judged(self) -> None:
        """Hear that the id is this run's."""
        if self._judged is not None and not self._judged.done():
            self._judged.set_result(None)

    def succeed(self, result: Any, event: Event | None = None) -> None:
        """End with a result, which *event* carries."""
        if not self._result.done():
            self.result_event = event
            self._result.set_result(result)

    def fail(self, error: BaseException, event: Event | None = None) -> None:
        """End with an error; *event* is the last one of the stream."""
        if not self._result.done():
            if isinstance(event, WorkflowCancelledEvent):
                self.result_event = event
            if isinstance(error, StopIteration):
                # A future refuses this exception.
                error = WorkflowRuntimeError(f"StopIteration: {error}")
            self._result.set_exception(error)
            # Marked as read: a reader of the stream alone has seen the end, too.
            self._result.exception()
            self._never_judged(error)

    def _never_judged(self, error: BaseException) -> None:
        if self._judged is not None and not self._judged.done():
            self._judged.set_exception(error)
            # Marked as read: there may be no sender that waits for it.
            self._judged.exception()

    if not TYPE_CHECKING:
        # With this, type checkers would accept any name.
        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(f"a WorkflowHandler has no attribute {name!r}")

    def _soon(self, sending: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(sending)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task
