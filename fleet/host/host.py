"""What one Faust app carries: the engines of its workflows and their partitions."""

from fleet.host.assignment import Assignment
from fleet.host.engines import Engines
from fleet.host.live_partitions import LivePartitions


class Host:
    """The engines of one app, what they own, and what they take records of."""

    def __init__(self) -> None:
        self.engines = Engines()
        self.live = LivePartitions(self.engines)
        self.assignment = Assignment(self.engines, self.live)

    async def drain(self) -> None:
        """Take nothing new, let running steps finish within the drain deadline, commit."""
        self.assignment.stop()
        await self.engines.drain()

    async def close(self) -> None:
        """Stop every task."""
        self.assignment.stop()
        self.live.clear()
        await self.engines.close()
