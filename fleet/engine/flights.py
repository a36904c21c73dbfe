"""
Steps in flight: who may run now, and what an attempt ends with.

Three limits hold: `num_workers` for each run and step, FLEET_SLOTS for the worker, and the step's
own timeout for each attempt. What waits for a limit holds no slot.
"""

import asyncio
import secrets
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from fleet.config.current_step import CURRENT_STEP, CurrentStep
from fleet.engine.slots import Slots
from fleet.engine.transitions.outcomes import Raised, Returned, Sent
from fleet.engine.transitions.transitions import Work
from fleet.records.events import Event, decoded
from fleet.records.state import View
from fleet.workflow.context import Context
from fleet.workflow.errors import StepTimeoutError

Outcome = Returned | Raised

#: An event from this size on, in bytes, is decoded again when its step begins, where that has to
#: wait for a slot: decoded it may take ten times the memory of its bytes.
LATE_DECODE_BYTES = 16 * 1024
_UNDECODED = Event()


class StreamWriter(Protocol):
    """Writes what a step shows to its caller."""

    def write(self, work: Work, attempt_id: str, number: int, event: Event) -> Awaitable[None]:
        """Append *event* as the *number*-th of an attempt; return when it is acknowledged."""
        ...


class Owner(Protocol):
    """Whose steps they are."""

    def now(self) -> float:
        """Return the time of a clock that nobody sets, in seconds."""
        ...

    def broker_ms(self, moment: float) -> float:
        """Return what the broker's time was at a moment of that clock, in unix milliseconds."""
        ...

    @property
    def held_back(self) -> bool:
        """Whether no step may begin before a commit got through."""
        ...

    async def sure(self) -> None:
        """Return once a step may begin."""
        ...

    def permit(self, work: Work) -> AbstractAsyncContextManager[None] | None:
        """Return what a step has to wait for and to hold while it runs; mostly nothing."""
        ...

    def landed(self, flight: "Flight", outcome: Outcome) -> None:
        """Take what an attempt ended with; not called for one that was stopped."""
        ...

    def broken(self, failure: BaseException) -> None:
        """Hear that the engine itself failed."""
        ...


@dataclass(eq=False, slots=True)
class Flight:
    """One step that runs or waits to."""

    work: Work
    #: Of the owner's clock, as `started`, until it has landed.
    queued: float
    task: asyncio.Task[None] | None = None
    started: float = 0.0
    #: It was told to stop: whatever it still does has no effect.
    stopped: bool = False
    #: What its event is decoded as when it begins; None where it is.
    decoded_as: type[Event] | None = None
    #: What it has shown, until that is acknowledged.
    written: list[asyncio.Future[None]] = field(default_factory=list)


class Flights:
    """The steps of one task."""

    def __init__(
        self,
        workflow: Callable[[], object],
        slots: Slots,
        stream: StreamWriter,
        view: View,
        owner: Owner,
    ) -> None:
        self._workflow = workflow
        self._slots = slots
        self._stream = stream
        self._view = view
        self._owner = owner
        self._by_run: dict[str, dict[int, Flight]] = {}
        self._running: dict[tuple[str, str], int] = {}
        self._waiting: dict[tuple[str, str], deque[Flight]] = {}
        #: What waits for a slot, in the order in which it came.
        self._queue: OrderedDict[int, Flight] = OrderedDict()
        self._grounded = False

    def __len__(self) -> int:
        return sum(len(flights) for flights in self._by_run.values())

    def __iter__(self) -> Iterator[Flight]:
        for flights in self._by_run.values():
            yield from flights.values()

    def add(self, work: Work) -> None:
        """Run a step as soon as the limits allow."""
        flight = Flight(work, queued=self._owner.now())
        self._by_run.setdefault(work.envelope.run_id, {})[id(flight)] = flight
        lane = work.envelope.run_id, work.step.name
        if self._grounded or self._running.get(lane, 0) >= work.step.options.num_workers:
            self._waiting.setdefault(lane, deque()).append(flight)
            _shed(flight)
        else:
            self._line_up(lane, flight)

    def has(self, run_id: str) -> bool:
        """Tell whether steps of a run are in flight or wait."""
        return run_id in self._by_run

    def active_steps(self, run_id: str) -> set[str]:
        """Return the names of a run's steps that run now."""
        flights = self._by_run.get(run_id, {}).values()
        return {flight.work.step.name for flight in flights if flight.started}

    def stop_run(self, run_id: str) -> list[Work]:
        """Stop a run's steps and return what they worked on."""
        flights = list(self._by_run.get(run_id, {}).values())
        for flight in flights:
            self._stop(flight)
        return [flight.work for flight in flights]

    @property
    def held_back(self) -> bool:
        """Whether no step may begin before a commit got through."""
        return self._owner.held_back

    def begin_next(self) -> bool:
        """Begin the step that has waited longest for a slot; tell whether there was one."""
        if not self._queue:
            return False
        _, flight = self._queue.popitem(last=False)
        self._take_off(flight)
        return True

    def ground(self) -> None:
        """Let nothing begin any more; what runs goes on."""
        self._grounded = True
        for flight in list(self):
            if not flight.started:
                self._stop(flight)

    async def wait(self, seconds: float) -> None:
        """Return when the steps that run now have ended, or after *seconds*."""
        running = [each.task for each in self if each.started and each.task is not None]
        if running:
            await asyncio.wait(running, timeout=seconds)

    def stop(self) -> None:
        """Stop every step."""
        self._grounded = True
        for flight in list(self):
            self._stop(flight)

    def _line_up(self, lane: tuple[str, str], flight: Flight) -> None:
        self._running[lane] = self._running.get(lane, 0) + 1
        self._queue[id(flight)] = flight
        self._slots.wait(self)
        if id(flight) in self._queue:
            _shed(flight)

    def _take_off(self, flight: Flight) -> None:
        lane = flight.work.envelope.run_id, flight.work.step.name
        flight.task = asyncio.create_task(self._fly(flight), name=f"step {lane[1]}")
        # Not in the coroutine: one that is cancelled before it begins runs none of its own code.
        flight.task.add_done_callback(lambda task: self._left(lane, task))

    def _stop(self, flight: Flight) -> None:
        flight.stopped = True
        # Whoever has the partition now shows events of its own; what is handed over cannot be taken
        # back, but nobody tries on for as long as the broker is away.
        for each in flight.written:
            each.cancel()
        if flight.task is not None:
            flight.task.cancel()
        elif self._queue.pop(id(flight), None) is not None:
            self._next_in((flight.work.envelope.run_id, flight.work.step.name))
        self._remove(flight)

    def _remove(self, flight: Flight) -> None:
        run_id = flight.work.envelope.run_id
        flights = self._by_run.get(run_id, {})
        flights.pop(id(flight), None)
        if not flights:
            self._by_run.pop(run_id, None)

    def _left(self, lane: tuple[str, str], task: asyncio.Task[None]) -> None:
        self._next_in(lane)
        self._slots.give_back()
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            self._owner.broken(failure)

    def _next_in(self, lane: tuple[str, str]) -> None:
        running = self._running.get(lane, 1) - 1
        self._running[lane] = running
        waiting = self._waiting.get(lane)
        while waiting and not self._grounded:
            flight = waiting.popleft()
            if not flight.stopped:
                self._line_up(lane, flight)
                return
        if not running:
            self._running.pop(lane, None)
            self._waiting.pop(lane, None)

    async def _fly(self, flight: Flight) -> None:
        outcome: Outcome
        # Here and no deeper: a GeneratorExit goes round whoever is not the task's outermost.
        try:
            permit = self._owner.permit(flight.work)
            if permit is None:
                outcome = await self._result(flight)
            else:
                async with permit:
                    outcome = await self._result(flight)
        except BaseException as failure:
            # A cancellation, too, that we did not ask for: some libraries raise one when a
            # connection breaks, others cancel the task that called them.
            if not _is_running(flight):
                # Its loop is gone, and Python clears up.
                raise
            outcome = Raised(failure)
        if not flight.stopped:
            # One that was not permitted has not begun.
            flight.started = flight.started or self._owner.now()
            self._remove(flight)
            self._owner.landed(flight, outcome)

    async def _result(self, flight: Flight) -> Outcome:
        await self._owner.sure()
        CURRENT_STEP.set(CurrentStep(flight.work.step.name, flight.work.envelope.run_id))
        flight.started = self._owner.now()
        context = self._context(flight)
        if flight.decoded_as is not None:
            _decode(flight, flight.decoded_as)
        event = await self._returned(flight.work, context)
        if flight.written:
            await asyncio.gather(*flight.written)
        sent = [Sent(*each) for each in context.sent]
        if event is not None:
            sent.append(Sent(event))
        return Returned(tuple(sent), context.changes)

    def _context(self, flight: Flight) -> Context:
        attempt_id, work, written = "", flight.work, flight.written

        def write(event: Event) -> Awaitable[None]:
            nonlocal attempt_id
            if flight.stopped:
                # It caught its cancellation and goes on; somebody else may run the step by now.
                raise asyncio.CancelledError
            # When it began orders attempts: one of an owner before may show something only later.
            began_ms = round(self._owner.broker_ms(flight.started))
            attempt_id = attempt_id or f"{began_ms:x}.{secrets.token_hex(8)}"
            writing = self._stream.write(work, attempt_id, len(written), event)
            written.append(asyncio.ensure_future(writing))
            # Awaited with the result; a step that failed has its own error to tell.
            written[-1].add_done_callback(lambda each: each.cancelled() or each.exception())
            return written[-1]

        context: Context = Context(
            envelope=work.envelope,
            step=work.step.name,
            attempt=1,
            state=self._view,
            write_to_stream=write,
        )
        return context

    async def _returned(self, work: Work, context: Context) -> Event | None:
        attempt = work.step.bind(self._workflow(), context, work.event)
        seconds = work.step.options.timeout_seconds
        event: Event | None = await (
            attempt if seconds is None else _within(seconds, work.step.name, attempt)
        )
        work.step.check_returned(event, has_sent=bool(context.sent))
        return event


def _shed(flight: Flight) -> None:
    """Keep only the bytes of a large event whose step waits for a slot."""
    work = flight.work
    if len(work.record.value or b"") >= LATE_DECODE_BYTES and flight.decoded_as is None:
        flight.decoded_as = type(work.event)
        flight.work = work._replace(event=_UNDECODED)


def _decode(flight: Flight, event_type: type[Event]) -> None:
    event = decoded(event_type, flight.work.record.value or b"")
    flight.work, flight.decoded_as = flight.work._replace(event=event), None


def _is_running(flight: Flight) -> bool:
    try:
        return asyncio.current_task() is flight.task
    except RuntimeError:
        return False


async def _within(seconds: float, step: str, attempt: Coroutine[Any, Any, Any]) -> Any:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await attempt
    except TimeoutError:
        if limit.expired():
            raise StepTimeoutError(step, seconds) from None
        raise
