"""
The caller's side: start runs, read the log, resolve handlers.

The log decides. A caller takes a terminal record as its run's end only once it has read the
`started` of its own start event, or a `known` that says where the end is: so a repeated run id
gets the effective end and no other.
"""

import asyncio
import math
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from fleet.client.handler import WorkflowHandler
from fleet.client.shown import Shown
from fleet.client.worker_watch import WorkerWatch
from fleet.config import logs
from fleet.engine.transitions import outcomes
from fleet.records import effective_end, lifecycle
from fleet.records import envelope as envelopes
from fleet.records.effective_end import SoFar
from fleet.records.envelope import BrokenEnvelope, Envelope
from fleet.records.events import Event, UndecodableEvent, decoded, encoded, type_name
from fleet.records.foreign import FOREIGN, told
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
from fleet.workflow import call_checks, definition
from fleet.workflow.definition import Definition
from fleet.workflow.errors import (
    EndGone,
    RunConflict,
    RunUnheard,
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
)

#: How much longer than the run's own timeout a caller waits to hear of its end, in seconds.
GRACE_SECONDS = 10.0
#: How long a record of a run that nobody waits for here is tried to be sent, in seconds.
_SEND_SECONDS = 60.0
_NOT_ACKNOWLEDGED = (
    "The broker has not acknowledged what was sent, which may still be written. Is it there? "
    "The same run_id finds the run."
)
_LATEST = 2**63 - 1
_REMEMBERED_ENDS = 100_000
#: How many runs begin to be started in one turn of the event loop. Of thousands that are begun
#: together, workers have the first ones while the others are still being written.
_STARTS_IN_TURN = 64
_log = logs.get_logger("caller")
_TERMINAL = frozenset(record.kind.encode() for record in (Completed, Failed, Cancelled, TimedOut))


class Link(Protocol):
    """How a caller reaches the log."""

    async def follow(self, run_id: str) -> None:
        """Read the run's partition of `runs` and `stream` from here on.

        Tries for as long as nobody cancels it.
        """
        ...

    def followed_from(self, run_id: str) -> int:
        """Return the offset of `runs` since which its partition has been read without a gap."""
        ...

    async def send(self, record: Outgoing, *, repeatable: bool) -> None:
        """Append one record; return when the log has acknowledged it.

        Tries for as long as nobody cancels it. *repeatable*: a second copy would be recognised.
        """
        ...

    async def look_back(self, run_id: str, offset: int) -> list[Delivered]:
        """Return the run's records of `runs` from *offset* up to what was taken by now."""
        ...

    def when_stream_read(self, run_id: str, done: Callable[[], None], *, soon: bool) -> None:
        """Call *done* when all that is in the run's partition of `stream` by now was taken.

        Not *soon*: nobody waits for it, so it may be looked at together with other runs.
        """
        ...

    def unfollow(self, run_id: str) -> None:
        """The run is of no interest any more."""
        ...

    @property
    def workers(self) -> Callable[[str], Awaitable[int]] | None:
        """What returns how many workers a step group has; None where that is no question.

        It raises KafkaError.
        """
        ...


@dataclass(eq=False, slots=True)
class _Open:
    """A run that somebody here waits for."""

    handler: WorkflowHandler
    start_event_id: str
    timeout_seconds: float | None
    #: The caller chose the run's id, so others may have used it, too.
    known_elsewhere: bool
    #: Which of the stream's records are for its reader.
    shown: Shown
    #: Its partition is followed for it.
    followed: bool = False
    #: The log has acknowledged the start event.
    sent: bool = False
    #: `started` or `known` was read for this start event. It may be read again after a look back.
    answered: bool = False
    #: Lowest offset at which a terminal record may be the run's end.
    end_from: int = _LATEST
    #: The run's epoch when its start event was answered.
    epoch: int = 0
    #: When its caller stops waiting, in seconds of the loop's clock.
    deadline: float = math.inf
    patience: asyncio.TimerHandle | None = None
    #: What is read of `runs` while an earlier part is looked at: it counts after that.
    held: list[Delivered] | None = None
    #: What is done for it in the background.
    work: asyncio.Task[None] | None = None


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
        self._workers = WorkerWatch(topics.engine_id, link.workers)
        #: Starts that wait for the next turn of the loop.
        self._starts: deque[tuple[_Open, Event]] = deque()
        #: How many have begun since some had to wait: not in this turn alone, which would have to
        #: be watched for. Where few begin at a time, one in many waits for a turn in vain.
        self._begun = 0

    def run(
        self,
        event: Event,
        run_id: str | uuid.UUID | None,
        timeout_seconds: float | None,
        *,
        keeps: object = None,
    ) -> WorkflowHandler:
        """Send the start event; return the run's handler at once, which holds *keeps*."""
        timeout_seconds = call_checks.timeout(timeout_seconds)
        known_elsewhere = run_id is not None
        run_id = uuid.uuid4().hex if run_id is None else call_checks.run_id(run_id)
        handler = WorkflowHandler(run_id, self, keeps=keeps)
        if known_elsewhere:
            handler.await_judgement()
        waiting = _Open(
            handler,
            uuid.uuid4().hex,
            timeout_seconds,
            known_elsewhere,
            Shown(from_the_start=not known_elsewhere),
        )
        self._open.setdefault(run_id, []).append(waiting)
        self._be_patient(waiting)
        self._start_soon(waiting, event)
        return handler

    def check_event(self, event: Event, step: str | None) -> None:
        """Raise UnacceptedEvent where no step would take *event*, or *step* would not."""
        call_checks.sent(self._definition.__name__, definition.graph(self._definition), event, step)

    async def send_event(self, run_id: str, event: Event, step: str | None) -> None:
        """Send *event* to a run from outside a step."""
        envelope = Envelope(
            run_id=run_id, event_id=uuid.uuid4().hex, type=type_name(event), step=step or ""
        )
        record = Outgoing(self._topics.inbox, run_id.encode(), encoded(event), envelope.headers())
        await self._send(run_id, record, repeatable=False)

    async def cancel_run(self, run_id: str, reason: str) -> None:
        """Write that the run is to stop."""
        epoch = max((each.epoch for each in self._open.get(run_id, ())), default=0)
        envelope = Envelope(
            run_id=run_id, event_id=uuid.uuid4().hex, type=Cancelled.kind, epoch=epoch
        )
        cancelled = Cancelled(reason=reason)
        key, value = run_id.encode(), cancelled.encode()
        record = Outgoing(self._topics.runs, key, value, envelope.headers())
        await self._send(run_id, record, repeatable=True)

    async def until_no_worker(self) -> None:
        """Return once the broker says that no worker is there to take up a start."""
        await self._workers.absent.wait()

    def take(self, record: Delivered) -> None:
        """Take a record of `runs` or `stream`; records of others' runs are passed over."""
        run_id = (record.key or b"").decode(errors="replace")
        if record.topic == self._topics.runs:
            self._remember(run_id, record)
        for waiting in list(self._open.get(run_id, ())):
            if record.topic == self._topics.runs and waiting.held is not None:
                waiting.held.append(record)
            else:
                self._take(waiting, record)

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
        self._workers.stop()
        for task in self._background:
            task.cancel()

    def _waiting(self) -> list[_Open]:
        return [each for several in self._open.values() for each in several]

    def _start_soon(self, waiting: _Open, event: Event) -> None:
        if self._begun < _STARTS_IN_TURN:
            self._begun += 1
            self._start_now(waiting, event)
            return
        if not self._starts:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._starts.append((waiting, event))

    def _next_turn(self) -> None:
        self._begun = min(len(self._starts), _STARTS_IN_TURN)
        for _ in range(self._begun):
            self._start_now(*self._starts.popleft())
        if self._starts:
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _start_now(self, waiting: _Open, event: Event) -> None:
        if not waiting.handler.is_done():
            self._work(waiting, partial(self._start, waiting, event))

    async def _start(self, waiting: _Open, event: Event) -> None:
        run_id = waiting.handler.run_id
        envelope = Envelope(
            run_id=run_id,
            event_id=waiting.start_event_id,
            type=type_name(event),
            timeout_seconds=waiting.timeout_seconds,
        )
        topic = self._topics.event(type_name(event))
        record = Outgoing(topic, run_id.encode(), encoded(event), envelope.headers())
        waiting.followed = True
        await self._link.follow(run_id)
        # A copy has the same event id, by which it is known as this start.
        await self._link.send(record, repeatable=True)
        waiting.sent = True
        if not waiting.handler.is_done():
            self._be_patient(waiting)
            if not waiting.answered:
                self._workers.sent(waiting)

    async def _send(self, run_id: str, record: Outgoing, *, repeatable: bool) -> None:
        """Append a record for as long as its run is waited for."""
        now = asyncio.get_running_loop().time()
        several = self._open.get(run_id, ())
        deadline = max((each.deadline for each in several), default=now + _SEND_SECONDS)
        seconds = None if math.isinf(deadline) else deadline - now
        try:
            async with asyncio.timeout(seconds):
                await self._link.send(record, repeatable=repeatable)
        except TimeoutError:
            raise RunUnheard(seconds or 0, (), _NOT_ACKNOWLEDGED) from None

    def _be_patient(self, waiting: _Open) -> None:
        """Wait for the run's own timeout and some more, from now on."""
        if waiting.timeout_seconds is None:
            return
        if waiting.patience is not None:
            waiting.patience.cancel()
        loop = asyncio.get_running_loop()
        waiting.deadline = loop.time() + waiting.timeout_seconds + GRACE_SECONDS
        waiting.patience = loop.call_at(waiting.deadline, self._lose_patience, waiting)

    def _lose_patience(self, waiting: _Open) -> None:
        if waiting.answered:
            advice = "Its worker has not reported; the run goes on when one is back."
        elif waiting.sent:
            advice = self._workers.advice
        else:
            advice = _NOT_ACKNOWLEDGED
        error = RunUnheard(waiting.timeout_seconds or 0, (), advice)
        self._close(waiting, error=error)

    # -- what is read -----------------------------------------------------------------------------

    def _take(self, waiting: _Open, record: Delivered) -> None:
        """Take a record of the run; what cannot be read in it ends this wait and no other."""
        try:
            envelope = envelopes.parse(record.headers)
        except BrokenEnvelope:
            # Somebody else's; the run's group buries it.
            return
        try:
            if record.topic == self._topics.stream:
                self._show(waiting, record, envelope)
            else:
                self._follow(waiting, record, envelope)
        except FOREIGN as failure:
            error = WorkflowRuntimeError(
                f"offset {record.offset} of {record.topic} cannot be read ({told(failure)})"
            )
            self._close(waiting, error=error)

    def _show(self, waiting: _Open, record: Delivered, envelope: Envelope) -> None:
        if not waiting.shown.is_next(envelope):
            return
        try:
            event = self._decoded(envelope.type, record.value or b"")
        except UndecodableEvent as failure:
            run_id = waiting.handler.run_id
            _log.warning("stream_record_skipped", run_id=run_id, reason=str(failure))
        else:
            waiting.handler.show(event)

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
            case Failed(event_id=waiting.start_event_id, step="") if not waiting.answered:
                # The start event itself: a run that could not begin has no `started`.
                self._end(waiting, happening)
            case _ if happening.terminal:
                so_far = SoFar(waiting.epoch, read_from=waiting.end_from)
                if effective_end.counts(envelope.epoch, record.offset, so_far):
                    self._end(waiting, happening)

    def _follow_started(self, waiting: _Open, started: Started) -> None:
        """Look for the end from here on, or where it may have been written before `started`."""
        run_id = waiting.handler.run_id
        waiting.answered = True
        self._workers.answered(waiting)
        waiting.handler.judged()
        early = self._ends.get(run_id, -1)
        if waiting.known_elsewhere and started.read_from < self._link.followed_from(run_id):
            # Also where an end was read: it need not be the first.
            self._look_back_soon(waiting, started.read_from)
        elif early >= started.read_from:
            self._look_back_soon(waiting, early)
        else:
            waiting.end_from = started.read_from

    def _follow_known(self, waiting: _Open, known: Known) -> None:
        waiting.answered = waiting.handler.was_known = True
        self._workers.answered(waiting)
        if known.conflict:
            self._close(waiting, error=RunConflict(waiting.handler.run_id))
            return
        waiting.handler.judged()
        if known.end_offset is None:
            self._look_back_soon(waiting, known.read_from)
        else:
            self._look_back_soon(waiting, known.end_offset, is_end=True)

    def _look_back_soon(self, waiting: _Open, offset: int, *, is_end: bool = False) -> None:
        # An end that is read meanwhile may be a later one than that which counts.
        waiting.held = []
        self._work(waiting, partial(self._look_back, waiting, offset, is_end=is_end))

    async def _look_back(self, waiting: _Open, offset: int, *, is_end: bool) -> None:
        found = await self._link.look_back(waiting.handler.run_id, offset)
        if is_end and all(record.offset != offset for record in found):
            waiting.handler.has_ended = True
            self._close(waiting, error=EndGone(waiting.handler.run_id))
        held, waiting.held = waiting.held or [], None
        waiting.end_from = offset
        for record in (*found, *held):
            self._take(waiting, record)

    def _remember(self, run_id: str, record: Delivered) -> None:
        if dict(record.headers).get("fleet-type") in _TERMINAL:
            self._ends.setdefault(run_id, record.offset)
            if len(self._ends) > _REMEMBERED_ENDS:
                del self._ends[next(iter(self._ends))]

    def _end(self, waiting: _Open, terminal: Lifecycle) -> None:
        run_id = waiting.handler.run_id
        waiting.handler.has_ended = True
        match terminal:
            case Completed(event_type=name, event=value):
                self._succeed(waiting, name, value.encode())
            case Failed():
                self._close(waiting, error=_revived(terminal, run_id))
            case TimedOut(timeout_seconds=seconds, active_steps=active):
                self._close(waiting, error=WorkflowTimeoutError(seconds, active, ""))
            case Cancelled(reason=reason):
                self._close(waiting, error=WorkflowCancelledByUser(run_id, reason))

    def _succeed(self, waiting: _Open, name: str, value: bytes) -> None:
        """End with a result; the types that it is made of are the user's, and may raise."""
        try:
            event = self._decoded(name, value)
            result = definition.result_of(self._definition, event)
        except UndecodableEvent as unreadable:
            self._close(waiting, error=WorkflowRuntimeError(str(unreadable)))
        except FOREIGN as failure:
            error = WorkflowRuntimeError(
                f"the result cannot be read: its type {name} raises {told(failure)} for what the "
                "step returned; the run itself has completed"
            )
            self._close(waiting, error=error)
        else:
            self._close(waiting, event=event, result=result)

    def _close(
        self,
        waiting: _Open,
        *,
        event: Event | None = None,
        result: Any = None,
        error: BaseException | None = None,
    ) -> None:
        if waiting.handler.is_done():
            return
        if waiting.patience is not None:
            waiting.patience.cancel()
        self._workers.dropped(waiting)
        if error is not None:
            waiting.handler.fail(error)
        else:
            waiting.handler.succeed(result)
        if waiting.work is not None and waiting.work is not asyncio.current_task():
            waiting.work.cancel()
        self._link.when_stream_read(
            waiting.handler.run_id,
            partial(self._end_stream, waiting, event),
            soon=waiting.handler.stream.has_readers,
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
        if waiting.followed:
            self._link.unfollow(run_id)

    def _decoded(self, type_name: str, value: bytes) -> Event:
        """Return the event, of its type where that is known here and takes it."""
        known = definition.event_type(self._definition, type_name)
        if known is not None:
            try:
                return decoded(known, value)
            except UndecodableEvent:
                pass
            except FOREIGN as failure:
                _log.warning("event_type_raised", type=type_name, reason=told(failure))
        return decoded(_Unknown, value)

    def _work(self, waiting: _Open, work: Callable[[], Awaitable[None]]) -> None:
        """Do something for a run; if it fails, this wait is over."""

        async def guarded() -> None:
            try:
                await work()
            except Exception as failure:  # noqa: BLE001 - whatever it is, the caller must hear it
                self._close(waiting, error=failure)

        waiting.work = task = asyncio.get_running_loop().create_task(guarded())
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _revived(failed: Failed, run_id: str) -> BaseException:
    try:
        return outcomes.revive(failed, run_id)
    except FOREIGN as failure:
        # The type is the user's, and what it is made of may come from anybody.
        _log.warning("error_not_revived", run_id=run_id, reason=told(failure))
        return WorkflowRuntimeError(f"{failed.failure.type}: {failed.failure.message}")


class _Unknown(Event, extra="allow"):
    """An event of a type that this process does not know."""
