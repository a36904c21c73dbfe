"""A simulated process that calls a workflow: the real caller and its reader over the simulation."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from aiokafka.errors import KafkaTimeoutError
from faust.types import TP

from fleet import Event
from fleet.client.caller import Caller
from fleet.client.handler import WorkflowHandler
from fleet.client.run_context import ContextGone
from fleet.config.settings import Settings
from fleet.kafka.calling.run_state import ContextUnreadable
from fleet.kafka.transport import KafkaTransport
from fleet.kafka.writer import InDoubt
from fleet.records.log import Delivered
from fleet.workflow import definition
from fleet.workflow.errors import RunUnheard
from fleet.workflow.result_type import ResultType
from simulation.broker import Broker
from simulation.calls_plan import CallerFault
from simulation.clients import REQUEST_SECONDS, Clients, Reader
from simulation.connection import Connection
from simulation.context_checks import ContextChecks
from simulation.flow import Advice, Done, Order, SimulatedFlow
from simulation.reading import PLAIN, Habits
from simulation.worker import TOPICS
from simulation.world import Loop, World


class CalledFlow(SimulatedFlow, workflow="simulated"):
    """The workflow as callers have it: of some results their type raises."""


class _Raising(ResultType):
    def of(self, event: Event) -> Any:
        """Return the result, if it can be read."""
        if isinstance(event, Done) and event.unreadable:
            raise KeyError(event.by)
        return super().of(event)


definition.graph(CalledFlow)
CalledFlow._fleet_result = _Raising()


class CallersClients(Clients):
    """A caller's clients: what is asked beside its work has chance of its own."""

    async def log_ids(self, _reader: Reader, topics: Iterable[str]) -> Mapping[str, str]:
        """Return the ids of topics, or fail, or take too long."""
        connection = self._connection
        random = Random(f"topic ids {connection.world.now}")
        await asyncio.sleep(random.choice((0.001, 0.001, 0.001, 0.5, REQUEST_SECONDS)))
        if random.random() < 0.1:
            raise KafkaTimeoutError
        return {name: connection.broker.log_id(name) for name in topics}


@dataclass(slots=True)
class Call:
    """A start event that was sent, and what its sender heard."""

    run_id: str
    order: Order
    handler: WorkflowHandler[Any]
    start_event_id: str
    #: What its stream gave.
    shown: list[Event] = field(default_factory=list)
    stream_ended: bool = False
    #: How its reader reads, and where it has come to.
    habits: Habits = PLAIN
    cursor: str | None = None
    #: Whose stream it read to the end.
    read_with: WorkflowHandler[Any] | None = None


class CallerProcess:
    """One process with a connection."""

    def __init__(self, name: str, world: World, broker: Broker, partitions: int) -> None:
        self.calls: list[Call] = []
        self.reads_streams = False
        #: The habits of the reader of a run's call here; and the process it moves to.
        self.habits: Callable[[str, int], Habits] = lambda _run_id, _number: PLAIN
        self.other: CallerProcess = self
        self._world = world
        self._loop = Loop(world, name)
        self.connection = Connection(world, self._loop, broker)
        clients: Any = CallersClients(self.connection)
        settings = Settings(prefix=TOPICS.prefix)
        self._transport = KafkaTransport(settings, TOPICS, partitions, clients)
        self._caller = Caller(CalledFlow, TOPICS, self._transport)
        self._tasks: set[asyncio.Task[None]] = set()
        #: Next offset of each partition that was handed to the caller.
        self._taken: dict[TP, int] = {}
        self._do(self._transport.start(self))

    def run(self, run_id: str, order: Order, timeout_seconds: float | None) -> None:
        """Start a run."""

        async def start() -> None:
            handler = self._caller.run(order, run_id, timeout_seconds)
            waiting = self._caller._waits.of(run_id)[-1]
            call = Call(run_id, order, handler, waiting.start_event_id)
            call.habits = self.habits(run_id, len(self.calls))
            self.calls.append(call)
            if self.reads_streams:
                await self._read(call, handler)

        self._do(start())

    async def _read(self, call: Call, handler: WorkflowHandler[Any]) -> None:
        """Read a call's stream from its reader's cursor on, until that dies or the stream ends."""
        habits = call.habits
        reader = handler.stream_events(habits.exposes, after=call.cursor)
        async for event in reader:
            call.shown.append(event)
            call.cursor = reader.cursor
            await asyncio.sleep(len(call.shown) % 3 * habits.slow / 2)
            if habits.dies(call.shown):
                self._come_back(call, handler)
                return
        if handler is not call.handler and not handler.has_ended:
            # Who attached could not find the run's place: it tries again.
            self._come_back(call, None)
            return
        call.read_with, call.stream_ended = handler, True

    def _come_back(self, call: Call, handler: WorkflowHandler[Any] | None) -> None:
        """Let a reader continue after a while: with the same handler, or as another process."""
        moves = call.habits.moves or handler is None
        process = self.other if moves else self

        async def read() -> None:
            attached = process._caller.attach(call.run_id, unseen=True) if moves else None
            await process._read(call, attached.handler if attached else handler or call.handler)

        process._world.after(call.habits.away + 0.1, lambda: process._do(read()))

    def cancel(self, run_id: str) -> None:
        """Cancel a run."""
        self._do(self._caller.cancel_run(run_id, "simulated"))

    def advise(self, run_id: str) -> None:
        """Send an event from outside."""
        self.send(run_id, Advice(text="go on"))

    def send(self, run_id: str, event: Event) -> None:
        """Send an event from outside."""
        self._do(self._send(run_id, event))

    async def _send(self, run_id: str, event: Event) -> None:
        try:
            await self._caller.send_event(run_id, event, None)
        except Exception as error:
            # The run ended before its start was in the log: what waits for that hears how.
            calls = [
                call for call in self.calls if call.run_id == run_id and call.handler.is_done()
            ]
            if not any(call.handler.exception() is error for call in calls):
                raise

    def look(self, run_id: str, checks: ContextChecks) -> None:
        """Read the context of a run that was called here, if it was."""
        for call in [call for call in self.calls if call.run_id == run_id][-1:]:
            self._do(self._look(call.handler, checks))

    async def _look(self, handler: WorkflowHandler[Any], checks: ContextChecks) -> None:
        before = checks.readable(handler.run_id)
        # One whose end is not heard may be forgotten.
        with contextlib.suppress(ContextUnreadable, ContextGone):
            made = await handler.ctx.store.get("made", [])
            checks.on_look(handler.run_id, before, made)

    def suffer(self, fault: CallerFault) -> None:
        """Let something go wrong with the connection."""
        now, over = self._world.now, self._world.now + fault.seconds
        self._world.note(self._loop.name, f"{fault.kind} for {fault.seconds:.1f} s")
        match fault.kind:
            case "hang":
                self.connection.hangs_until = over
                self.connection.lags_until |= {TOPICS.runs: over, TOPICS.stream: over}
            case "errors":
                self.connection.troubled_until = over
            case "deaf":
                self.connection.deaf_before = now

    @property
    def inner(self) -> Caller:
        """The real caller."""
        return self._caller

    def work(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do something in this process."""
        self._do(work())

    # -- as a reader, before the caller -----------------------------------------------------------

    def take(self, record: Delivered) -> None:
        """Take a record: none of a partition comes again."""
        tp = TP(record.topic, record.partition)
        expected = self._taken.get(tp, 0)
        if record.offset < expected:
            self._world.violate(f"{self._loop.name} takes {tp} {record.offset} again")
        self._taken[tp] = record.offset + 1
        self._caller.take(record)

    def fail_all(self, error: BaseException) -> None:
        """Hear that nothing can be read any more."""
        self._caller.fail_all(error)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        async def done() -> None:
            # Nobody says that such a record has arrived.
            with contextlib.suppress(InDoubt, RunUnheard):
                await work

        def begin() -> None:
            task = self._loop.create_task(done())
            self._tasks.add(task)
            task.add_done_callback(self._done)

        self._loop.call_soon(begin)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        task.result()
