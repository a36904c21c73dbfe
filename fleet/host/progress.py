"""
Whether this worker makes progress: a consumer that dies quietly must not look alive.

Loops of Faust and aiokafka can end silently, or wait for something that never comes. So a client of
our own asks for the ends of the input topics. A worker ends if it stays at one position, in one
commit or at one place of a load for FLEET_STALL_SECONDS, although the broker answers and there is
work. Its supervisor starts another one. An outage of the broker does not count: no worker could
make progress then, and this one resumes by itself.

We count looks and not seconds: a process that was frozen has not looked.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faust.types import TP

from fleet.host.host import Host
from fleet.kafka.clients import Clients, stop_reader
from fleet.records.errors import FleetError

#: How many looks there are within FLEET_STALL_SECONDS.
LOOKS = 6
#: How long the broker may take to answer, in seconds.
ANSWER_SECONDS = 10.0


class Stalled(FleetError):
    """Raised when this worker makes no progress although it could.

    What to do: Nothing at first: the worker ends and another one continues. If it repeats with a
    slow broker, raise `FLEET_STALL_SECONDS`; otherwise report it.
    """

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(
            f"{what} for {seconds:.0f} seconds, although the broker answers; this worker ends, so "
            "that another one can continue. If that happens again and the broker is only slow, "
            "raise FLEET_STALL_SECONDS; otherwise report it"
        )


class Progress:
    """Looks regularly whether the tasks of one host make progress."""

    def __init__(
        self,
        host: Host,
        position: Callable[[TP], int | None],
        excused: Callable[[], bool],
        clients: Clients | None = None,
    ) -> None:
        self._host = host
        self._clients = clients
        self._position = position
        self._excused = excused
        self._reader: Any = None
        #: For each thing that stands still: its place, and for how many looks.
        self._still: dict[str, tuple[object, int]] = {}

    async def run(self) -> None:
        """Look until cancelled; raises Stalled."""
        seconds = self._host.engines.settings.stall_seconds
        if not seconds:
            return
        try:
            while True:
                await asyncio.sleep(seconds / LOOKS)
                self.look(await self._ends(), seconds)
        finally:
            await self._disconnect()

    def look(self, ends: dict[TP, int] | None, seconds: float) -> None:
        """Compare with the last look; *ends* are the stable ends, None without an answer."""
        if ends is None or self._excused():
            self._still.clear()
            return
        before, self._still = self._still, {}
        for what, place in (*self._waiting(ends), *self._committing(), *self._loading()):
            since, looks = before.get(what, (place, -1))
            self._still[what] = place, looks + 1 if since == place else 0
            if self._still[what][1] >= LOOKS:
                raise Stalled(what, seconds)

    def _waiting(self, ends: dict[TP, int]) -> Iterator[tuple[str, object]]:
        for tp, end in ends.items():
            task, position = self._host.engines.task(tp), self._position(tp)
            wanted = task is not None and task.takes(tp.topic)
            if wanted and (position is None or position < end):
                yield f"no record of {tp.topic}[{tp.partition}] was taken", position

    def _committing(self) -> Iterator[tuple[str, object]]:
        for engine in self._host.engines:
            for task in engine.tasks.values():
                if task.alive and task.ledger.sealed is not None:
                    yield f"a commit of {task.name} did not come back", id(task.ledger.sealed)

    def _loading(self) -> Iterator[tuple[str, object]]:
        for engine in self._host.engines:
            for opening in engine.openings.values():
                if opening.place is not None:
                    yield f"nothing of {opening.name} was loaded", opening.place

    async def _ends(self) -> dict[TP, int] | None:
        tps = [TopicPartition(*tp) for tp in self._watched()]
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader = await self._connected()
                return {TP(*tp): end for tp, end in (await reader.end_offsets(tps)).items()}
        except (KafkaError, OSError, TimeoutError):
            await self._disconnect()
            return None

    def _watched(self) -> Iterator[TP]:
        yield from self._host.assignment.owned()
        for engine in self._host.engines:
            # Without the leader of its changelog no worker could load a task.
            yield from (TP(engine.topics.state, partition) for partition in engine.openings)

    async def _connected(self) -> Any:
        if self._reader is None:
            clients = self._clients or Clients(self._host.engines.settings)
            self._reader = clients.reader()
            await self._reader.start()
        return self._reader

    async def _disconnect(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await stop_reader(reader)
