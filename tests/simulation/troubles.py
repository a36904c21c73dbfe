"""
What goes wrong while a worker opens its partitions: clients that fail, disks that break.

Each call of a loader's reader, and connecting a task's producer, may raise what aiokafka raises
without an answer, may be answered late, or never. Taking an id may take seconds. Each operation of
a local store may fail, and what failed once stays broken until its folder is removed, as a corrupt
file does. A disk that is full has room again later, and what is on it is whole.
"""

import asyncio
from random import Random

from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError

from simulation.plan import HEALED, Opening
from simulation.world import BEGINNING, World

_ERRORS = (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, OSError)

#: What of aiokafka has no time limit.
_MAY_STAND = ("position", "getmany")


class Broken(Exception):
    """As rocksdict raises: of no class of its own."""


class Troubles:
    """Of one worker."""

    def __init__(self, world: World, name: str, plan: Opening) -> None:
        self._world = world
        self._name = name
        self._plan = plan
        #: Until when the disk is full, in unix seconds; by chance of its own.
        self._full_until = 0.0
        self._random = Random(f"full disk {name} {world.now}")

    async def of_client(self, call: str) -> None:
        """Come before *call* of a client: raise, or take long."""
        if call == "stop" and self._strikes(self._plan.deaf):
            self._world.note(self._name, "a client never stops")
            await asyncio.Event().wait()
        if call in _MAY_STAND and self._strikes(self._plan.reader_stands):
            self._world.note(self._name, f"a client stands still: {call}")
            await asyncio.Event().wait()
        if self._strikes(self._plan.reader_fails):
            self._world.note(self._name, f"a client fails: {call}")
            raise self._world.random.choice(_ERRORS)
        if self._strikes(self._plan.reader_hangs):
            await asyncio.sleep(self._world.random.choice((0.5, 3.0, 12.0)))

    def slows(self, request: str) -> float:
        """Return how many seconds *request* takes longer."""
        if request != "init" or not self._strikes(self._plan.init_slow):
            return 0.0
        seconds = self._world.random.choice((0.3, 1.5, 4.0))
        self._world.note(self._name, f"taking an id takes {seconds} seconds")
        return seconds

    def breaks_store(self, operation: str) -> bool:
        """Tell whether a store breaks at *operation*."""
        strikes = self._strikes(self._plan.disk_breaks)
        if strikes:
            self._world.note(self._name, f"a store breaks: {operation}")
        return strikes

    def fills_disk(self, operation: str) -> bool:
        """Tell whether there is no space left for what *operation* writes."""
        if operation not in {"open", "write"}:
            return False
        if self._world.now >= self._full_until and self._fills(self._plan.disk_fills):
            self._world.note(self._name, "its disk is full")
            self._full_until = self._world.now + self._random.uniform(0.1, 12)
        return self._world.now < self._full_until

    def _fills(self, chance: float) -> bool:
        over = self._world.now > BEGINNING + HEALED
        return bool(chance) and not over and self._random.random() < chance

    def _strikes(self, chance: float) -> bool:
        over = self._world.now > BEGINNING + HEALED
        return bool(chance) and not over and self._world.random.random() < chance
