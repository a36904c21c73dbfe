"""A simulated process that calls a workflow: the real caller and its reader over the simulation."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from fleet.config.settings import Settings
from fleet.runtime.caller import Caller
from fleet.runtime.handler import WorkflowHandler
from fleet.runtime.reader import KafkaLink
from simulation.broker import Broker
from simulation.clients import Clients
from simulation.connection import Connection
from simulation.flow import Advice, Order, SimulatedFlow
from simulation.worker import TOPICS
from simulation.world import Loop, World


@dataclass(slots=True)
class Call:
    """A start event that was sent, and what its sender heard."""

    run_id: str
    order: Order
    handler: WorkflowHandler[Any]


class CallerProcess:
    """One process with a connection."""

    def __init__(self, name: str, world: World, broker: Broker, partitions: int) -> None:
        self.calls: list[Call] = []
        self._loop = Loop(world, name)
        clients: Any = Clients(Connection(world, self._loop, broker))
        settings = Settings(prefix=TOPICS.prefix)
        self._link = KafkaLink(settings, TOPICS, partitions, clients)
        self._caller = Caller(SimulatedFlow, TOPICS, self._link)
        self._tasks: set[asyncio.Task[None]] = set()
        self._do(self._link.start(self._caller))

    def run(self, run_id: str, order: Order, timeout_seconds: float | None) -> None:
        """Start a run."""

        async def start() -> None:
            handler = self._caller.run(order, run_id, timeout_seconds)
            self.calls.append(Call(run_id, order, handler))

        self._do(start())

    def cancel(self, run_id: str) -> None:
        """Cancel a run."""
        self._do(self._caller.cancel_run(run_id, "simulated"))

    def advise(self, run_id: str) -> None:
        """Send an event from outside."""
        self._do(self._caller.send_event(run_id, Advice(text="go on"), None))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        def begin() -> None:
            task = self._loop.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._done)

        self._loop.call_soon(begin)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        task.result()
