"""
The caller's side of one workflow: it starts runs, sends to them and cancels them.

`Waits` holds the runs that have a handler here; `Follower` finds their ends in the log.
"""

import asyncio
import uuid
from functools import partial
from typing import Any

from fleet.client import patience
from fleet.client.attaching import Attaching
from fleet.client.context_reader import ContextReader
from fleet.client.follower import Follower
from fleet.client.handler import WorkflowHandler
from fleet.client.open_run import OpenRun
from fleet.client.starts import Starts
from fleet.client.streams.event_stream import EventStream
from fleet.client.transport import Transport
from fleet.client.waits import Waits
from fleet.client.worker_watch import WorkerWatch
from fleet.records.envelope import Envelope
from fleet.records.events import Event, encoded, qualified_name, type_name
from fleet.records.lifecycle import Cancelled
from fleet.records.log import Delivered, Outgoing
from fleet.records.topics import Topics
from fleet.workflow import call_checks, definition
from fleet.workflow.calling import results
from fleet.workflow.calling.results import Outcome
from fleet.workflow.context_state.reader import Reader
from fleet.workflow.definition import Definition
from fleet.workflow.errors import RunUnheard, WorkflowRuntimeError


class Caller:
    """Starts runs of one workflow; their handlers give the ends."""

    def __init__(self, workflow: type[Definition], topics: Topics, transport: Transport) -> None:
        self._workflow = workflow
        self._topics = topics
        self._transport = transport
        self._workers = WorkerWatch(topics.engine_id, transport.workers)
        self._waits = Waits(transport, self._workers)
        self._follower = Follower(workflow, topics, transport, self._workers, self._waits)
        self._attaching = Attaching(transport, self._follower, self._waits)
        self._contexts = ContextReader(partial(definition.graph, workflow), transport)
        self._starts = Starts(
            lambda run, event: self._waits.work(run, partial(self._start, run, event))
        )

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
        run = OpenRun(
            self._handler(run_id, others_may_run=known_elsewhere, keeps=keeps),
            uuid.uuid4().hex,
            timeout_seconds,
            known_elsewhere,
        )
        self._waits.add(run)
        self._starts.add(run, event)
        return run.handler

    def attach(
        self, run_id: str | uuid.UUID, *, unseen: bool = False, keeps: object = None
    ) -> OpenRun:
        """Follow a run that others began; its handler holds *keeps*.

        If no worker has seen it, its wait ends with RunUnknown, or stays open with *unseen*.
        """
        run_id = call_checks.run_id(run_id)
        handler = self._handler(run_id, others_may_run=True, keeps=keeps)
        handler.was_known = True
        run = OpenRun(handler, uuid.uuid4().hex, None, True, attached=True)
        self._waits.add(run)
        self._waits.work(run, partial(self._attaching.attach, run, unseen=unseen))
        return run

    def _handler(
        self, run_id: str, *, others_may_run: bool, keeps: object = None
    ) -> WorkflowHandler[Any]:
        decode = partial(results.event, self._workflow)
        stream = EventStream(run_id, self._topics.stream, self._transport, decode)
        return WorkflowHandler(run_id, self, stream, others_may_run=others_may_run, keeps=keeps)

    async def cancel_and_wait(self, run_id: str | uuid.UUID, reason: str, seconds: float) -> str:
        """Cancel a run that anyone began; return the outcome that the log has for it.

        If no worker has seen the run, none with this id will begin. Raises RunUnheard if the log
        does not say the outcome within *seconds*.
        """
        run = self.attach(run_id, unseen=True)
        try:
            async with asyncio.timeout(seconds):
                await run.until_sent()
                if not run.handler.has_ended:
                    await self._write_cancel(run.handler.run_id, reason)
                await run.handler.until_done()
        except TimeoutError:
            raise RunUnheard(seconds, patience.NOT_SAID) from None
        finally:
            unheard = RunUnheard(seconds, patience.NOT_SAID)
            self._waits.close(run, Outcome(error=unheard))
        if not run.handler.has_ended and (error := run.handler.exception()) is not None:
            raise error
        return run.handler.outcome

    def check_event(self, event: Event, step: str | None) -> None:
        """Raise UnacceptedEvent if *event* is none, or *step* does not take it."""
        call_checks.sent(self._workflow.__name__, definition.graph(self._workflow), event, step)

    async def send_event(self, run_id: str, event: Event, step: str | None) -> None:
        """Send *event* to a run from outside a step."""
        name = type_name(event)
        accepted = definition.graph(self._workflow).accepting_type(type(event))
        envelope = Envelope(
            run_id=run_id,
            event_id=uuid.uuid4().hex,
            type=name,
            step=step or "",
            unaccepted="" if accepted else qualified_name(type(event)),
        )
        record = Outgoing(self._topics.inbox, run_id.encode(), encoded(event), envelope.headers())
        for run in self._waits.of(run_id):
            await run.until_sent()
        await self._send(run_id, record, repeatable=False)

    async def cancel_run(self, run_id: str, reason: str) -> None:
        """Ask the workers to stop the run."""
        attached = [run for run in self._waits.of(run_id) if run.attached]
        for run in attached:
            await run.until_sent()
        if not attached or any(not run.handler.has_ended for run in attached):
            await self._write_cancel(run_id, reason)

    async def _write_cancel(self, run_id: str, reason: str) -> None:
        epoch = max((run.epoch for run in self._waits.of(run_id)), default=0)
        envelope = Envelope(
            run_id=run_id, event_id=uuid.uuid4().hex, type=Cancelled.kind, epoch=epoch
        )
        cancelled = Cancelled(reason=reason)
        key, value = run_id.encode(), cancelled.encode()
        record = Outgoing(self._topics.runs, key, value, envelope.headers())
        await self._send(run_id, record, repeatable=True)

    async def read_context(self, handler: WorkflowHandler[Any]) -> Reader:
        """Return what is committed of a run's context; raise ContextNotKept or ContextGone."""
        return await self._contexts.read(handler)

    async def running_steps(self, run_id: str) -> list[str]:
        """Return the names of a run's steps that run now."""
        return await self._transport.running_steps(run_id, definition.graph(self._workflow))

    async def until_no_worker(self) -> None:
        """Return once the broker says that the step group has no worker."""
        await self._workers.absent.wait()

    def take(self, record: Delivered) -> None:
        """Take a record of `runs` or `stream`."""
        self._follower.take(record)

    def fail_all(self, error: BaseException) -> None:
        """End every open run's wait with *error*: its log cannot be read any more."""
        self._waits.fail_all(error)

    def shut(self) -> None:
        """Stop waiting; the runs themselves go on."""
        self._waits.shut(WorkflowRuntimeError("the connection was closed; the run itself goes on"))
        self._starts.clear()
        self._workers.stop()

    async def _start(self, run: OpenRun, event: Event) -> None:
        run_id = run.handler.run_id
        envelope = Envelope(
            run_id=run_id,
            event_id=run.start_event_id,
            type=type_name(event),
            timeout_seconds=run.timeout_seconds,
        )
        topic = self._topics.event(type_name(event))
        record = Outgoing(topic, run_id.encode(), encoded(event), envelope.headers())
        run.followed = True
        await self._transport.follow(run_id)
        run.handler.stream.followed_from(self._transport.stream_position(run_id))
        if not run.known_elsewhere:
            run.handler.stream.begins()
        # Readers recognise a copy by its event id.
        await self._transport.send(record, repeatable=True)
        run.note_sent()
        if not run.handler.is_done():
            self._waits.patience.begin(run)
            if not run.answered:
                self._workers.sent(run)

    async def _send(self, run_id: str, record: Outgoing, *, repeatable: bool) -> None:
        """Append a record for as long as a caller here waits for its run."""
        seconds = patience.seconds_left(self._waits.of(run_id))
        try:
            async with asyncio.timeout(seconds):
                await self._transport.send(record, repeatable=repeatable)
        except TimeoutError:
            raise RunUnheard(seconds or 0, patience.NOT_ACKNOWLEDGED) from None
