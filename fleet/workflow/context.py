"""
What a step may ask for besides its event.

A context belongs to one attempt. Sent events and changed values take effect with the step's result,
all or nothing. Only events written to the stream are visible at once.
"""

import difflib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property, partial
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NoReturn,
    Self,
    TypeVar,
    overload,
)

from pydantic import BaseModel

from fleet.config import logs
from fleet.records.calls import Calls
from fleet.records.envelope import Envelope, idempotency_key
from fleet.records.events import Event, StopEvent, encoded
from fleet.records.state import Overlay, View, context_prefix
from fleet.workflow import suspending, waiting
from fleet.workflow.collecting import Buffers, Collected
from fleet.workflow.context_state import state_type
from fleet.workflow.editing import Editor
from fleet.workflow.errors import NoEvent, WorkflowConfigurationError
from fleet.workflow.failing.retrying import RetryInfo
from fleet.workflow.recorded.memo import BadMemo, Reconcile, memo
from fleet.workflow.store import Model, Store
from fleet.workflow.waiting import E, EventWait

if TYPE_CHECKING:
    from fleet.workflow.calling.children import ChildEnd, ChildRun
    from fleet.workflow.definition import Definition

T = TypeVar("T")
R = TypeVar("R")

WriteToStream = Callable[[Event], Awaitable[None]]
CheckTarget = Callable[[Event, str], None]


class Surroundings(NamedTuple):
    """What a context asks of those that run its attempt."""

    #: Shows an event.
    write_to_stream: WriteToStream
    #: Raises if a step does not exist, or does not take an event.
    check_target: CheckTarget
    #: The name of the workflow.
    workflow: str = ""
    #: The model that its steps name, `ctx: Context[MyState]`; None: none does.
    state_model: type[BaseModel] | None = None
    #: Returns who takes the attempt's edits; None if it makes none.
    editor: Callable[[], Editor] | None = None
    #: Returns what is known of the attempts before.
    retry_info: Callable[[], RetryInfo] = partial(RetryInfo, 0)
    #: Returns the names of the run's steps that run now.
    running_steps: Callable[[], Iterable[str]] = tuple
    #: Returns who keeps the attempt's recorded calls; None if it makes none.
    calls: Callable[[], Calls] | None = None
    #: Returns when the *n*-th sleep of the step is over; until then, ends the attempt.
    sleep: Callable[[int, float], Awaitable[None]] | None = None
    #: Returns what a wait for an event gave; until then, ends the attempt.
    wait: Callable[[EventWait], Awaitable[bytes]] | None = None
    #: Returns the end of a run that the step starts; until then, ends the attempt.
    run_child: "Callable[[ChildRun], Awaitable[ChildEnd]] | None" = None


class OfOneRun:
    """A view of one run: no other run can begin with it."""

    __slots__ = ()


class Context(OfOneRun, Generic[Model]):
    """One attempt's view of its run."""

    def __new__(cls, *given: object, **_options: object) -> Self:
        """Refuse to be made by hand, from a workflow as in other libraries."""
        if given:
            raise WorkflowConfigurationError(
                "a Context is given to steps, and a caller reads `handler.ctx`; put what a run "
                "begins with into its start event"
            )
        return super().__new__(cls)

    def __init__(
        self,
        *,
        envelope: Envelope,
        step: str,
        attempt: int,
        state: View,
        surroundings: Surroundings,
    ) -> None:
        #: The run's id, as its caller knows it.
        self.run_id = envelope.run_id
        #: Which attempt of the step this is, counted from 1.
        self.attempt = attempt
        #: Events sent beside the returned one: the event, its target step or None, and its bytes.
        self.sent: list[tuple[Event, str | None, bytes | None]] = []
        self._event_id = envelope.event_id
        self._step = step
        self._sleeps = 0
        self._state = state
        self._surroundings = surroundings

    @property
    def idempotency_key(self) -> str:
        """A key that every attempt of this step on this event shares, after crashes too.

        Give it to services that recognise a repeated call.
        """
        return idempotency_key(self._event_id, self._step)

    # Made at its first use: many steps have none.
    @cached_property
    def store(self) -> Store[Model]:
        """The run's values: by dotted path, or as an object of the model that the steps name."""
        kind = state_type.of(self._surroundings.state_model)
        prefix = context_prefix(self.run_id)
        return Store(Overlay(self._state), prefix, kind, self._surroundings.editor)

    @cached_property
    def log(self) -> Any:
        """A structured logger whose lines name workflow, step, run and attempt.

        `ctx.log.info("page_read", pages=3)`. Lines go to Python's logger `fleet.step`.
        """
        return logs.get_logger("step").bind(
            workflow=self._surroundings.workflow,
            step=self._step,
            run_id=self.run_id,
            attempt=self.attempt,
        )

    def retry_info(self) -> RetryInfo:
        """Return how often the step was tried before on its event, and what it failed with."""
        return self._surroundings.retry_info()

    async def sleep(self, seconds: float | timedelta) -> None:
        """Let the step wait: without a slot, and over restarts of the workers.

        The attempt ends here, and what it sent and changed with it. After *seconds*, which the
        broker's clock measures, the step runs again from its top, and this call returns at once.
        Which call it is, is its number in the attempt, so sleep in the same order each time. Put
        what is expensive before it into `ctx.memo`. Raises WorkflowConfigurationError for anything
        but a number of seconds.
        """
        wait = suspending.sleep_seconds(seconds)
        self._sleeps += 1
        if wait and self._surroundings.sleep is not None:
            await self._surroundings.sleep(self._sleeps, wait)

    async def wait_for_event(  # noqa: PLR0913 - as callers know it; the last one by name
        self,
        event_type: type[E],
        waiter_event: Event | None = None,
        waiter_id: str | None = None,
        requirements: Mapping[str, Any] | None = None,
        timeout: float | None = waiting.DEFAULT_SECONDS,
        *,
        formerly: str | None = None,
    ) -> E:
        """Return the event of exactly *event_type* that the run gets, from outside or from a step.

        Each field in *requirements* has the given value. *waiter_event* is shown to the caller,
        once. Until the event comes the step is not in memory: its attempt ends here, and what it
        sent and changed with it. Then the step runs again from its top, and this call returns at
        once. Put what is expensive before it into `ctx.memo`.

        *waiter_id* tells several waits of a step apart; without it, waits for the same type and
        values are one. After *timeout* seconds, which the broker's clock measures, it raises
        asyncio.TimeoutError; None waits for as long as the run goes on. *formerly* is the waiter_id
        that this wait had in a release before: steps that wait under it get their event here.
        Raises BadWait for what cannot be waited for, and UnencodableEvent for *waiter_event*.
        """
        asked = waiting.asked(event_type, waiter_event, waiter_id, requirements, timeout, formerly)
        if self._surroundings.wait is None:
            raise TimeoutError
        noted = await self._surroundings.wait(asked)
        return waiting.given(event_type, asked, noted)

    async def run_workflow(
        self,
        workflow: "type[Definition[R]] | Definition[R]",
        start_event: Event | None = None,
        /,
        *,
        timeout: float | None = None,
        **fields: Any,
    ) -> R:
        """Run another workflow and return its result: `await ctx.run_workflow(Summary, text=text)`.

        *workflow* is a class, or an object of it if the class takes arguments. It gets a start
        event, or the start event's fields. On Kafka its own workers run it, in memory and on an app
        this process does.

        The run is started once, in a commit of its own. Until it has ended the step is not in
        memory: its attempt ends here, and what it sent and changed with it. Then the step runs
        again from its top, and this call returns at once. Which run it is, is the number of the
        call for that workflow in the attempt, so make these calls in the same order each time. Put
        what is expensive before it into `ctx.memo`. `asyncio.gather` runs several side by side.

        *timeout*, in seconds, replaces the workflow's own. The run has at most the time that this
        run has left, and is cancelled when this run or this step ends without it. Raises the error
        that the other run failed with, WorkflowTimeoutError, WorkflowCancelledByUser, and BadChild
        or another WorkflowConfigurationError for what cannot be run. A next attempt after such an
        error starts another run.
        """
        # Declaring a workflow imports this file.
        from fleet.workflow.calling import children  # noqa: PLC0415

        run = children.asked(workflow, start_event, fields, timeout)
        if self._surroundings.run_child is None:
            raise children.BadChild("only a step that runs can run another workflow")
        result: R = children.given(run, await self._surroundings.run_child(run))
        return result

    async def running_steps(self) -> list[str]:
        """Return the names of the run's steps that run now, sorted; this one is among them."""
        return sorted(self._surroundings.running_steps())

    @property
    def edits(self) -> int:
        """How many blocks of `ctx.store.edit_state()` it has begun."""
        return self.store.edits if "store" in self.__dict__ else 0

    @property
    def changes(self) -> dict[bytes, bytes | None]:
        """The values that were set, by state key; None deletes."""
        return self.store.changes() if "store" in self.__dict__ else {}

    @cached_property
    def _buffers(self) -> Buffers:
        return Buffers(self._state, self.run_id, self._step)

    @property
    def collected(self) -> Collected | None:
        """What was collected; None if that is nothing."""
        return self._buffers.collected() if "_buffers" in self.__dict__ else None

    def collect_events(
        self, ev: Event, expected: Sequence[type[Event]], buffer_id: str | None = None
    ) -> list[Event] | None:
        """Keep *ev* until all *expected* events are there; return them then, in that order.

        Until then return None. Within a type the order is that of arrival. What is not expected,
        or is there already, is dropped. *buffer_id* tells several buffers of a step apart. If
        other attempts of the step change the buffer meanwhile, this one is run again.
        """
        _must_be_event(ev, "collect_events")
        return self._buffers.collect(ev, expected, buffer_id or "default")

    @overload
    async def memo(
        self,
        key: str,
        fn: Callable[[], Awaitable[T]],
        *,
        scope: Literal["step", "run"] = ...,
        reconcile: Reconcile[T] | None = ...,
        formerly: str | None = ...,
    ) -> T: ...
    @overload
    async def memo(
        self,
        key: str,
        fn: Callable[[], T],
        *,
        scope: Literal["step", "run"] = ...,
        reconcile: Reconcile[T] | None = ...,
        formerly: str | None = ...,
    ) -> T: ...
    async def memo(
        self,
        key: str,
        fn: Callable[[], Any],
        *,
        scope: Literal["step", "run"] = "step",
        reconcile: Callable[[], Any] | None = None,
        formerly: str | None = None,
    ) -> Any:
        """Call *fn* once, and return what it gave: `await ctx.memo("offer", ask_for_offer)`.

        The value is committed before you get it. A later attempt of the step for its event gets it
        without a call: after a crash, a retry, a wait or a resume. *fn* takes no arguments and is
        async or plain. Calls of one key at the same time call it once. With `scope="run"` all steps
        of the run share the value; it is kept until the run has completed or is forgotten.

        If *fn* raises, nothing is recorded. If a worker dies between the call and the commit, the
        call may have happened without a record. With *reconcile*, the intent to call is committed
        first; an attempt that finds no result after it awaits `reconcile()`, which returns the
        result, or `fleet.NOT_DONE`: then *fn* is called. *formerly* is the key that this call had
        in a release before: what is recorded under it is used.

        Raises UnrecordedValue for a value that would not come back equal and of its type,
        RecordTooLarge for one of more than 1,000,000 bytes, and BadMemo for wrong arguments.
        """
        if self._surroundings.calls is None:
            raise BadMemo("only a step that runs can record a call")
        return await memo(self._surroundings.calls(), key, fn, scope, reconcile, formerly)

    def send_event(self, event: Event, step: str | None = None) -> None:
        """Send *event* when the step has succeeded, to all accepting steps or only to *step*.

        Later changes to *event* have no effect. Raises UnroutableEvent if there is no *step* of
        that name or it does not take *event*, and UnencodableEvent if *event* would not come back
        from JSON as it is. If no step accepts *event*, an UnhandledEvent on the stream says so.
        """
        _must_be_event(event, "send_event")
        if step is not None:
            self._surroundings.check_target(event, step)
        # The workflow says what a plain StopEvent may hold. Other events are encoded here, so that
        # an error names the user's own line.
        value = None if type(event) is StopEvent else encoded(event)
        self.sent.append((event, step, value))

    def write_event_to_stream(self, event: Event) -> Awaitable[None]:
        """Show *event* at once to every reader of the run's stream.

        You need not await it: the step's result is committed only after the write.
        """
        _must_be_event(event, "write_event_to_stream")
        return self._surroundings.write_to_stream(event)

    if not TYPE_CHECKING:
        # With this, type checkers would accept any name.

        def __getattr__(self, name: str) -> NoReturn:
            known = [public for public in dir(type(self)) if not public.startswith("_")]
            near = difflib.get_close_matches(name, [*known, "run_id", "attempt"], n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise AttributeError(f"a Context has no attribute {name!r}{meant}", name=name, obj=self)


def _must_be_event(given: object, method: str) -> None:
    if not isinstance(given, Event):
        raise NoEvent(given, method)
