"""
The caller's side: start runs, read the log, resolve handlers.

The log decides. A caller takes a terminal record as its run's end only once it has read the
`started` of its own start event, or a `known` that says where the end is: so a repeated run id
gets the effective end and no other.
"""

import asyncio
import contextlib
import math
import uuid
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from fleet.records import envelope as envelopes
from fleet.records import lifecycle
from fleet.records.envelope import BrokenEnvelope, Envelope
from fleet.records.events import Event, UndecodableEvent
from fleet.records.lifecycle import (
    Cancelled,
    Completed,
    Failed,
    Known,
    Lifecycle,
    Started,
    TimedOut,
)
from fleet.records.log import Delivered, Outgoing
from fleet.records.topics import Topics
from fleet.runtime.handler import WorkflowHandler
from fleet.workflow import outcomes
from fleet.workflow.definition import Definition
from fleet.workflow.errors import (
    RunConflict,
    RunUnheard,
    WorkflowCancelledByUser,
    WorkflowConfigurationError,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
)

#: How much longer than the run's own timeout a caller waits to hear of its end, in seconds.
GRACE_SECONDS = 10.0
_LATEST = 2**63 - 1
_REMEMBERED_ENDS = 100_000
#: How many runs begin to be started in one turn of the event loop. Of thousands that are begun
#: together, workers have the first ones while the others are still being written.
_STARTS_IN_TURN = 64
_TERMINAL = frozenset(record.kind.encode() for record in (Completed, Failed, Cancelled, TimedOut))


class Link(Protocol):
    """How a caller reaches the log."""

    async def follow(self, run_id: str) -> None:
        """Read the run's partition of `runs` and `stream` from here on."""
        ...

    def followed_from(self, run_id: str) -> int:
        """Return the offset of `runs` since which its partition has been read without a gap."""
        ...

    async def send(self, record: Outgoing) -> None:
        """Append one record; return when the log has acknowledged it."""
        ...

    async def rewind(self, run_id: str, offset: int) -> None:
        """Read the run's partition of `runs` from *offset* again."""
        ...

    def when_stream_read(self, run_id: str, done: Callable[[], None], *, soon: bool) -> None:
        """Call *done* when all that is in the run's partition of `stream` by now was taken.

        Not *soon*: nobody waits for it, so it may be looked at together with other runs.
        """
        ...

    def unfollow(self, run_id: str) -> None:
        """The run is of no interest any more."""
        ...


@dataclass(eq=False, slots=True)
class _Open:
    """A run that somebody here waits for."""

    handler: WorkflowHandler
    start_event_id: str
    timeout_seconds: float | None
    #: The caller chose the run's id, so others may have used it, too.
    known_elsewhere: bool
    #: `started` or `known` was read for this start event. It may be read again after a look back.
    answered: bool = False
    #: Lowest offset at which a terminal record may be the run's end.
    end_from: int = _LATEST
    #: A terminal record of an older epoch ends nothing: the run was resumed since.
    epoch: int = 0
    patience: asyncio.TimerHandle | None = None
    #: The attempt whose stream is shown, by event and step; older ones are ignored.
    attempts: dict[tuple[str, str], list[str]] = field(default_factory=dict)


class Caller:
    """Starts runs of one workflow and tells their callers how they end."""

    def __init__(self, definition: type[Definition], topics: Topics, link: Link) -> None:
        self._definition = definition
        self._topics = topics
        self._link = link
        self._open: dict[str, list[_Open]] = {}
        #: Offsets of the terminal records that were read of late, also of runs of others: one may
        #: be the end of a run that is only about to be started here.
        self._ends: dict[str, int] = {}
        self._background: set[asyncio.Task[None]] = set()
        #: Starts that wait for the next turn of the loop.
        self._starts: deque[tuple[_Open, Event]] = deque()
        #: How many have begun since some had to wait: not in this turn alone, which would have to
        #: be watched for. Where few begin at a time, one in many waits for a turn in vain.
        self._begun = 0

    def run(
        self, event: Event, run_id: str | None, timeout_seconds: float | None
    ) -> WorkflowHandler:
        """Send the start event; return the run's handler at once."""
        _check_timeout(timeout_seconds)
        known_elsewhere = run_id is not None
        if run_id is None:
            run_id = uuid.uuid4().hex
        elif not run_id or "\0" in run_id:
            raise WorkflowConfigurationError(
                f"{run_id!r} cannot be a run id; use text that is not empty and has no NUL"
            )
        handler = WorkflowHandler(run_id, self)
        waiting = _Open(handler, uuid.uuid4().hex, timeout_seconds, known_elsewhere)
        self._open.setdefault(run_id, []).append(waiting)
        self._start_soon(waiting, event)
        return handler

    async def send_event(self, run_id: str, event: Event, step: str | None) -> None:
        """Send *event* to a run from outside a step."""
        envelope = Envelope(
            run_id=run_id, event_id=uuid.uuid4().hex, type=event.type_name(), step=step or ""
        )
        await self._link.send(
            Outgoing(self._topics.inbox, run_id.encode(), event.encode(), envelope.headers())
        )

    async def cancel_run(self, run_id: str, reason: str) -> None:
        """Write that the run is to stop."""
        epoch = max((each.epoch for each in self._open.get(run_id, ())), default=0)
        envelope = Envelope(
            run_id=run_id, event_id=uuid.uuid4().hex, type=Cancelled.kind, epoch=epoch
        )
        cancelled = Cancelled(reason=reason)
        await self._link.send(
            Outgoing(self._topics.runs, run_id.encode(), cancelled.encode(), envelope.headers())
        )

    def take(self, record: Delivered) -> None:
        """Take a record of `runs` or `stream`; records of others' runs are passed over."""
        run_id = (record.key or b"").decode(errors="replace")
        if record.topic == self._topics.runs:
            self._remember(run_id, record)
        for waiting in list(self._open.get(run_id, ())):
            try:
                envelope = envelopes.parse(record.headers)
            except BrokenEnvelope:
                # Somebody else's; the run's group buries it.
                return
            if record.topic == self._topics.stream:
                self._show(waiting, record, envelope)
            else:
                self._follow(waiting, record, envelope)

    def fail_all(self, error: BaseException) -> None:
        """End every open run's wait with *error*: its log cannot be read any more."""
        for waiting in self._waiting():
            self._close(waiting, error=error)

    def shut(self) -> None:
        """Stop waiting; the runs themselves go on."""
        self.fail_all(WorkflowRuntimeError("the connection was closed; the run itself goes on"))
        for waiting in self._waiting():
            self._end_stream(waiting)
        self._starts.clear()
        for task in self._background:
            task.cancel()

    def _waiting(self) -> list[_Open]:
        return [each for several in self._open.values() for each in several]

    def _start_soon(self, waiting: _Open, event: Event) -> None:
        if self._begun < _STARTS_IN_TURN:
            self._begun += 1
            self._soon(self._start(waiting, event))
            return
        if not self._starts:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._starts.append((waiting, event))

    def _next_turn(self) -> None:
        self._begun = min(len(self._starts), _STARTS_IN_TURN)
        for _ in range(self._begun):
            self._soon(self._start(*self._starts.popleft()))
        if self._starts:
            asyncio.get_running_loop().call_soon(self._next_turn)

    async def _start(self, waiting: _Open, event: Event) -> None:
        run_id = waiting.handler.run_id
        envelope = Envelope(
            run_id=run_id,
            event_id=waiting.start_event_id,
            type=event.type_name(),
            timeout_seconds=waiting.timeout_seconds,
        )
        topic = self._topics.event(event.type_name())
        try:
            await self._link.follow(run_id)
            await self._link.send(
                Outgoing(topic, run_id.encode(), event.encode(), envelope.headers())
            )
        except Exception as failure:  # noqa: BLE001 - whatever it is, the caller must hear it
            self._close(waiting, error=failure)
            return
        if waiting.timeout_seconds is not None and not waiting.handler.is_done():
            patience = waiting.timeout_seconds + GRACE_SECONDS
            loop = asyncio.get_running_loop()
            waiting.patience = loop.call_later(patience, self._lose_patience, waiting)

    def _lose_patience(self, waiting: _Open) -> None:
        advice = (
            "Its worker has not reported; the run goes on when one is back."
            if waiting.answered
            else "No worker has taken it up; is one running, with the same prefix? "
            "The run stays queued."
        )
        error = RunUnheard(waiting.timeout_seconds or 0, (), advice)
        self._close(waiting, error=error)

    def _show(self, waiting: _Open, record: Delivered, envelope: Envelope) -> None:
        attempt = envelope.event_id.rpartition("-")[0]
        known = waiting.attempts.setdefault((envelope.parent_id, envelope.step), [])
        if attempt not in known:
            known.append(attempt)
        if attempt == known[-1]:
            waiting.handler.show(self._decoded(envelope.type, record.value or b""))

    def _follow(self, waiting: _Open, record: Delivered, envelope: Envelope) -> None:
        try:
            happening = lifecycle.decode(envelope.type, record.value or b"")
        except lifecycle.UnknownLifecycle:
            # A newer worker's kind of record; what ends this run is of a kind that is known.
            return
        match happening:
            case Started(start_event_id=waiting.start_event_id) if not waiting.answered:
                self._follow_started(waiting, happening)
            case Known(start_event_id=waiting.start_event_id) if not waiting.answered:
                waiting.epoch = envelope.epoch
                self._follow_known(waiting, happening)
            case _ if happening.terminal and record.offset >= waiting.end_from:
                if envelope.epoch >= waiting.epoch:
                    self._end(waiting, happening)

    def _follow_started(self, waiting: _Open, started: Started) -> None:
        """Look for the end from here on, or where it may have been written before `started`."""
        run_id = waiting.handler.run_id
        waiting.answered = True
        early = self._ends.get(run_id, -1)
        if waiting.known_elsewhere and started.read_from < self._link.followed_from(run_id):
            # Also where an end was read: it need not be the first.
            self._soon(self._look_back(waiting, started.read_from))
        elif early >= started.read_from:
            self._soon(self._look_back(waiting, early))
        else:
            waiting.end_from = started.read_from

    def _follow_known(self, waiting: _Open, known: Known) -> None:
        waiting.answered = True
        if known.conflict:
            self._close(waiting, error=RunConflict(waiting.handler.run_id))
            return
        offset = known.read_from if known.end_offset is None else known.end_offset
        self._soon(self._look_back(waiting, offset))

    async def _look_back(self, waiting: _Open, offset: int) -> None:
        await self._link.rewind(waiting.handler.run_id, offset)
        # Only now: an end that was read meanwhile may be a later one than that which counts.
        waiting.end_from = offset

    def _remember(self, run_id: str, record: Delivered) -> None:
        if dict(record.headers).get("fleet-type") in _TERMINAL:
            self._ends.setdefault(run_id, record.offset)
            if len(self._ends) > _REMEMBERED_ENDS:
                del self._ends[next(iter(self._ends))]

    def _end(self, waiting: _Open, terminal: Lifecycle) -> None:
        run_id = waiting.handler.run_id
        match terminal:
            case Completed(event_type=name, event=value):
                try:
                    self._close(waiting, event=self._decoded(name, value.encode()))
                except UndecodableEvent as unreadable:
                    self._close(waiting, error=WorkflowRuntimeError(f"the result is {unreadable}"))
            case Failed():
                self._close(waiting, error=outcomes.revive(terminal, run_id))
            case TimedOut(timeout_seconds=seconds, active_steps=active):
                self._close(waiting, error=WorkflowTimeoutError(seconds, active, ""))
            case Cancelled(reason=reason):
                self._close(waiting, error=WorkflowCancelledByUser(run_id, reason))

    def _close(
        self, waiting: _Open, *, event: Event | None = None, error: BaseException | None = None
    ) -> None:
        if waiting.handler.is_done():
            return
        if waiting.patience is not None:
            waiting.patience.cancel()
        if error is not None:
            waiting.handler.fail(error)
        elif event is not None:
            waiting.handler.succeed(self._definition.result_of(event))
        self._link.when_stream_read(
            waiting.handler.run_id,
            partial(self._end_stream, waiting, event),
            soon=waiting.handler.streaming,
        )

    def _end_stream(self, waiting: _Open, event: Event | None = None) -> None:
        run_id = waiting.handler.run_id
        several = self._open.get(run_id, [])
        if waiting not in several:
            # The connection was closed meanwhile.
            return
        if event is not None:
            waiting.handler.show(event)
        waiting.handler.end_stream()
        several.remove(waiting)
        if not several:
            del self._open[run_id]
        self._link.unfollow(run_id)

    def _decoded(self, type_name: str, value: bytes) -> Event:
        known = self._definition.event_type(type_name)
        if known is not None:
            with contextlib.suppress(UndecodableEvent):
                return known.decode(value)
        return _Unknown.decode(value)

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _check_timeout(seconds: float | None) -> None:
    if seconds is None:
        return
    if not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds <= 0:
        raise WorkflowConfigurationError(
            f"a run's timeout is a number of seconds greater than 0, not {seconds!r}; use None for "
            "no limit"
        )


class _Unknown(Event, extra="allow"):
    """An event of a type that this process does not know."""
