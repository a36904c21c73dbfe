"""
How many runs a worker works on at once: `num_concurrent_runs`.

A run has a place from its first step until it ends or its partition goes to another worker. Runs
without a place wait: those that had begun before (in a partition that moved here) first, then the
others in the order in which they were started. What they wait with holds no slot.
"""

import heapq
import itertools
from typing import NamedTuple, Protocol


class Queue(Protocol):
    """The runs of one task."""

    def admit(self, run_id: str) -> None:
        """Let a run that has waited take its place."""
        ...


class Rank(NamedTuple):
    """Which run is first."""

    #: Whether it has not begun yet.
    is_new: bool
    #: Broker time, in unix milliseconds.
    since_ms: float


_Key = tuple[Queue, str]


class ConcurrentRuns:
    """The places of one worker for runs; as many as there are runs if *limit* is None."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._inside: set[_Key] = set()
        #: Those that wait, with the number of their entry in the heap.
        self._waiting: dict[_Key, int] = {}
        self._heap: list[tuple[Rank, int, _Key]] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._inside)

    @property
    def waiting(self) -> int:
        """How many runs wait for a place."""
        return len(self._waiting)

    def knows(self, queue: Queue, run_id: str) -> bool:
        """Tell whether a run has a place or waits for one."""
        return (queue, run_id) in self._inside or (queue, run_id) in self._waiting

    def has_place(self, queue: Queue, run_id: str) -> bool:
        """Tell whether a run has a place."""
        return self.limit is None or (queue, run_id) in self._inside

    def ask(self, queue: Queue, run_id: str, rank: Rank) -> bool:
        """Give a run a place, or let it wait for one; tell whether it has one now."""
        key = queue, run_id
        if self.has_place(queue, run_id):
            return True
        if key in self._waiting:
            return False
        # Those that wait come first; they are let in as soon as there is a place.
        if self.limit is not None and len(self._inside) >= self.limit:
            number = self._waiting[key] = next(self._numbers)
            heapq.heappush(self._heap, (rank, number, key))
            return False
        self._inside.add(key)
        return True

    def leave(self, queue: Queue, run_id: str) -> None:
        """Take the place of a run that has ended, or let it wait no more."""
        key = queue, run_id
        self._waiting.pop(key, None)
        if key in self._inside:
            self._inside.discard(key)
            self._fill()

    def withdraw(self, queue: Queue) -> None:
        """Let no run of a task wait any more."""
        for key in [key for key in self._waiting if key[0] is queue]:
            del self._waiting[key]

    def close(self, queue: Queue) -> None:
        """Take the places of all runs of a task."""
        self.withdraw(queue)
        self._inside = {key for key in self._inside if key[0] is not queue}
        self._fill()

    def _fill(self) -> None:
        while self._heap and self.limit is not None and len(self._inside) < self.limit:
            _, number, key = heapq.heappop(self._heap)
            if self._waiting.get(key) == number:
                del self._waiting[key]
                self._inside.add(key)
                queue, run_id = key
                queue.admit(run_id)
