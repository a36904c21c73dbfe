"""
Which workflow partitions this process owns, from one rebalance to the next.

It knows nothing of Faust: Faust's consumer (`consumer.py`) reports what was assigned and revoked.
"""

import asyncio
from collections.abc import Iterable, Iterator

from faust.types import TP

from fleet.host.engines import Engines
from fleet.host.live_partitions import LivePartitions


class Assignment:
    """The workflow partitions that one process owns, and whether it serves all of them."""

    def __init__(self, engines: Engines, live: LivePartitions) -> None:
        self._engines = engines
        self._live = live
        #: No task begins any more: the process is on its way out.
        self._stopping = False
        self._assigned = False
        #: The workflow partitions that are assigned to this process and its own.
        self._owned: list[TP] = []
        #: Since when not all partitions are served, in the loop's time.
        self._stalled_since: float | None = None

    async def assign(self, assigned: Iterable[TP]) -> None:
        """Own the workflow partitions among *assigned*, each with its partition of `runs` only.

        A leader of another version may assign a topic that not all members read by itself; the
        member with the partition of `runs` is the one owner.
        """
        self._live.clear()
        if self._stopping:
            return
        self._assigned = True
        assigned = list(assigned)
        leaders = set(assigned)
        workflows = (tp for tp in assigned if self._engines.owns(tp.topic))
        self._owned = [tp for tp in workflows if self._engines.leader(tp) in leaders]
        await asyncio.gather(
            *(
                engine.assign({tp.partition for tp in leaders if tp.topic == engine.topics.runs})
                for engine in self._engines
            )
        )

    def revoked(self) -> None:
        """Take nothing until the next assignment: a rebalance begins."""
        self._live.clear()
        if self._stalled_since is None:
            self._stalled_since = asyncio.get_running_loop().time()
        for engine in self._engines:
            engine.revoked()
            engine.observer.rebalanced()

    def stop(self) -> None:
        """Own no more partitions than now: the process is on its way out."""
        self._stopping = True

    def served(self, assigned: Iterable[TP]) -> None:
        """Note it if this process takes records of all partitions among *assigned* that it owns."""
        if self._stalled_since is None or not self._assigned:
            return
        ours = set(self._owned).intersection(assigned)
        if all(tp in self._live for tp in ours):
            seconds = asyncio.get_running_loop().time() - self._stalled_since
            self._stalled_since = None
            for engine in self._engines:
                engine.observer.served_again(seconds)

    def owned(self) -> Iterator[TP]:
        """Yield the partitions that this process owns and has tasks for."""
        yield from (tp for tp in self._owned if self._engines.task(tp) is not None)

    @property
    def unready(self) -> str:
        """Why not all that was assigned is served; empty if it is."""
        if self._stopping:
            return "the worker is stopping"
        if not self._assigned:
            return "no partition was assigned yet"
        if not all(engine.ready for engine in self._engines):
            troubles = [trouble for engine in self._engines for trouble in engine.troubles]
            return "; ".join(["tasks are being loaded", *troubles])
        return "" if self._stalled_since is None else "a rebalance is under way"
