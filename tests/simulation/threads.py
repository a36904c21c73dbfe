"""
The loop of a worker's transactions: a thread's, beside the loop of its steps.

It belongs to the same process: it is frozen and killed with it. What computes in the other loop
does not hold it up.
"""

from fleet.kafka.producer_thread import ProducerThread
from simulation.world import Loop, World


class ThreadLoop(Loop):
    """The loop of a thread of a process."""

    def __init__(self, world: World, process: Loop) -> None:
        self._process = process
        super().__init__(world, f"{process.name} producers")
        process.threads.append(self)

    @property
    def frozen(self) -> bool:
        """As its process."""
        return self._process.frozen

    @frozen.setter
    def frozen(self, frozen: bool) -> None:
        """Only a process is frozen."""

    @property
    def dead(self) -> bool:
        """As its process."""
        return self._process.dead

    @dead.setter
    def dead(self, dead: bool) -> None:
        """Only a process is killed."""


class SimulatedThread(ProducerThread):
    """See `ProducerThread`: what is sent there and back is the real thing."""

    def __init__(self, world: World, process: Loop) -> None:
        super().__init__()
        self._loop = ThreadLoop(world, process)

    def enter(self) -> None:
        """It runs already."""

    def leave(self) -> None:
        """It ends with its process."""
