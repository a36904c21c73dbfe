"""
What waits for a limit of its run: for a place of the run, or for `num_workers` of a step.

A limit of its own run is no reason to hold others up. So what waits for one need not stay open in
its input: it may be *set aside* as suspended work, and then waits here by its key alone.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from fleet.engine.admission.concurrent_runs import ConcurrentRuns, Rank
from fleet.workflow.steps import Step

#: How many keys of work that is set aside a task keeps in memory; more work stays open.
MOST_ASIDE = 100_000


class Key(NamedTuple):
    """A step of a run."""

    run_id: str
    step: str


class Aside(NamedTuple):
    """Work that waits in the state."""

    #: Of its entry.
    entry: bytes
    #: When it came; see `Attempt.queued`.
    queued: float


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Users(Generic[T]):
    """Who begins what has waited."""

    #: Lets it wait for a slot.
    line_up: Callable[[Key, T], object]
    #: Runs work that was set aside, by its entry.
    take_up: Callable[[bytes], object]
    #: Hears that a run has a place now.
    admitted: Callable[[str], object]


class RunQueues(Generic[T]):
    """Of one task."""

    def __init__(
        self,
        steps: Mapping[str, Step],
        runs: ConcurrentRuns,
        most_running: int,
        is_new: Callable[[str], bool],
    ) -> None:
        self._steps = steps
        #: Whether runs may have to wait for a place.
        self.limited = runs.limit is not None
        self._runs = runs
        #: More cannot run at once anyway.
        self._most_running = most_running
        #: Tells whether a run has not begun.
        self._is_new = is_new
        #: How many run, or wait for a slot; and of all steps together.
        self._running: dict[Key, int] = {}
        self.begun = 0
        self._waiting: dict[Key, deque[T | Aside]] = {}
        #: What waits for a place of its run.
        self._outside: dict[str, list[tuple[Key, T | Aside]]] = {}
        #: How much is set aside, by run, and of all.
        self._aside: defaultdict[str, int] = defaultdict(int)
        self._all_aside = 0
        #: When work that is taken up now was set aside, by its entry.
        self._since: dict[bytes, float] = {}
        self._stopping = False

    def serve(self, users: Users[T]) -> None:
        """Let *users* begin what has waited."""
        self._users = users

    def since(self, entry: bytes, now: float) -> float:
        """Return when work came that is taken up now; *now* if it was not set aside."""
        return self._since.get(entry, now)

    @property
    def takes_aside(self) -> bool:
        """Whether more can be set aside."""
        return self._all_aside < MOST_ASIDE and not self._stopping

    @property
    def aside(self) -> int:
        """How much work is set aside."""
        return self._all_aside

    def has(self, run_id: str) -> bool:
        """Tell whether work of a run is set aside."""
        return self._aside.get(run_id, 0) > 0

    def ask(self, run_id: str, since_ms: float) -> bool:
        """Tell whether a run has a place; else it waits for one, since *since_ms*."""
        if self._runs.has_place(self, run_id):
            return True
        if self._stopping or self._runs.knows(self, run_id):
            return False
        if not self._runs.ask(self, run_id, Rank(self._is_new(run_id), since_ms)):
            return False
        self._users.admitted(run_id)
        return True

    def must_wait(self, key: Key, since_ms: float) -> bool:
        """Tell whether a step cannot line up for a slot now."""
        return (
            self._stopping
            or not self.ask(key.run_id, since_ms)
            or self._running.get(key, 0) >= self._most(key)
        )

    def begin(self, key: Key) -> None:
        """Note that a step lines up for a slot."""
        self._running[key] = self._running.get(key, 0) + 1
        self.begun += 1

    def wait(self, key: Key, waiting: T | Aside) -> None:
        """Let a step wait for its run's limit."""
        if isinstance(waiting, Aside):
            self._count_aside(key.run_id, 1)
        if self._runs.has_place(self, key.run_id):
            self._waiting.setdefault(key, deque()).append(waiting)
        else:
            self._outside.setdefault(key.run_id, []).append((key, waiting))

    def left(self, key: Key) -> None:
        """Note that a step runs no more, and waits for no slot."""
        running = self._running.get(key, 1) - 1
        self.begun -= key in self._running
        if running:
            self._running[key] = running
        else:
            self._running.pop(key, None)
        self._fill(key)

    def admit(self, run_id: str) -> None:
        """Let the steps of a run begin: it has a place."""
        self._users.admitted(run_id)
        for key, waiting in self._outside.pop(run_id, ()):
            self._waiting.setdefault(key, deque()).append(waiting)
            self._fill(key)

    def clear(self, run_id: str) -> None:
        """Let nothing of a run wait any more."""
        self._outside.pop(run_id, None)
        for step in self._steps:
            self._waiting.pop(Key(run_id, step), None)
        self._all_aside -= self._aside.pop(run_id, 0)

    def leave(self, run_id: str) -> None:
        """Give the place of a run away."""
        self._runs.leave(self, run_id)

    def stop_admitting(self) -> None:
        """Let nothing begin any more; what runs keeps its place."""
        self._stopping = True
        self._runs.withdraw(self)

    def close(self) -> None:
        """Give every place away."""
        self._runs.close(self)

    def _fill(self, key: Key) -> None:
        waiting = self._waiting.get(key)
        while waiting and not self._stopping and self._running.get(key, 0) < self._most(key):
            following = waiting.popleft()
            if isinstance(following, Aside):
                self._count_aside(key.run_id, -1)
                self._since[following.entry] = following.queued
                self._users.take_up(following.entry)
                del self._since[following.entry]
            else:
                self._users.line_up(key, following)
        if not waiting:
            self._waiting.pop(key, None)

    def _most(self, key: Key) -> int:
        return min(self._steps[key.step].options.num_workers, self._most_running)

    def _count_aside(self, run_id: str, count: int) -> None:
        self._all_aside += count
        self._aside[run_id] += count
        if not self._aside[run_id]:
            del self._aside[run_id]
