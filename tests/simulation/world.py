"""
Virtual time and processes: who runs next is a seeded choice, one callback of one loop at a time.

Each process has an event loop of its own over the one clock. One that is killed is never turned
again, one that is frozen is not turned until it wakes: both may happen between any two callbacks,
as SIGKILL and SIGSTOP may.

Computing takes no time, unless a loop is told what it takes: `Loop.callback_seconds` for each
callback, and `Loop.spend` for what one of them does. A loop that computes is not turned meanwhile,
so whatever is due in it waits, as in a crowded process.
"""

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

#: When each history begins, in unix seconds.
BEGINNING = 1_700_000_000.0
#: How often tasks are cancelled at the end of a history: some clean up, and wait again.
_FAREWELLS = 5


_set_running_loop = events._set_running_loop


class World:
    """One clock, one source of chance, the processes and what happens between them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = BEGINNING
        self.turns = 0
        #: What happened, for whoever reads a failing history.
        self.trace: list[tuple[float, str, str]] = []
        #: What must not happen and did.
        self.violations: list[str] = []
        #: Processes that are alive.
        self.loops: list[Loop] = []
        self._all_loops: list[Loop] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        #: The loop whose callback runs.
        self._turning: Loop | None = None

    def wall(self) -> float:
        """Return what `time.time` says in the process that asks, in unix seconds."""
        return self._turning.wall() if self._turning is not None else self.now

    def note(self, who: str, what: str) -> None:
        """Add a line to the trace."""
        self.trace.append((self.now - BEGINNING, who, what))

    def violate(self, what: str) -> None:
        """Note that a promise was broken; the first one ends the history."""
        if self.violations:
            return
        self.note("!!!", what)
        self.violations.append(what)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do *action* later, outside of all processes."""
        self._number += 1
        heapq.heappush(self._events, (self.now + seconds, self._number, action))

    def run(self, done: Callable[[], bool], until: float) -> bool:
        """Let time pass until *done*, at most until *until*; return whether it was."""
        while not done():
            if self.violations or self.now > until:
                return False
            self._step()
        return True

    def add(self, loop: "Loop") -> None:
        """Turn the loop of a new process."""
        self.loops.append(loop)
        self._all_loops.append(loop)

    def bury(self) -> None:
        """End all processes."""
        for loop in self._all_loops:
            loop.bury()

    def _step(self) -> None:
        # Most of a history's time is spent here and in what it calls.
        now = self.now
        ready = [
            loop
            for loop in self.loops
            if loop._ready and not loop.frozen and loop.busy_until <= now
        ]
        due = self._events and self._events[0][0] <= self.now
        if due and (not ready or self.random.random() < 0.3):
            heapq.heappop(self._events)[2]()
        elif ready:
            self.turns += 1
            self._turning = ready[int(self.random.random() * len(ready))]
            self._turning.turn()
            self._turning = None
        else:
            self._pass_time()

    def _pass_time(self) -> None:
        awake = [loop for loop in self.loops if not loop.frozen]
        following = self._events[0][0] if self._events else float("inf")
        for loop in awake:
            due = loop.busy_until if loop._ready else loop.next_due()
            following = min(due, following)
        assert following < float("inf"), "nothing will ever happen again"
        self.now = max(self.now, following)
        for loop in awake:
            scheduled = loop._scheduled
            if scheduled and scheduled[0]._when <= self.now:
                loop.wake()


class Loop(asyncio.BaseEventLoop):
    """The event loop of one process, which the world turns."""

    # Of the class above, which does not declare them.
    _ready: deque[asyncio.Handle]
    _scheduled: list[Any]

    def __init__(self, world: World, name: str) -> None:
        super().__init__()
        self.name = name
        #: Loops of other threads of the process.
        self.threads: list[Loop] = []
        self.frozen = False
        self.dead = False
        #: What each callback takes, and until when the last one does, in seconds.
        self.callback_seconds = 0.0
        self.busy_until = 0.0
        #: The clock of its machine, in unix seconds.
        self.wall: Callable[[], float] = lambda: world.now
        self._world = world
        self._clock_resolution = 1e-9
        world.add(self)

    def time(self) -> float:
        """Return the world's time."""
        return self._world.now

    def spend(self, seconds: float) -> None:
        """Let the callback that runs take *seconds* more."""
        self.busy_until = max(self.busy_until, self._world.now) + seconds

    def next_due(self) -> float:
        """Return when the next timer is due."""
        scheduled = self._scheduled
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        return scheduled[0]._when if scheduled else float("inf")

    def wake(self) -> None:
        """Make callbacks ready whose time has come."""
        while self.next_due() <= self._world.now:
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False
            self._ready.append(handle)

    def turn(self) -> None:
        """Run one callback."""
        handle = self._ready.popleft()
        if handle._cancelled:
            return
        if self.callback_seconds:
            self.spend(self.callback_seconds)
        _set_running_loop(self)
        try:
            handle._run()
        finally:
            _set_running_loop(None)

    def kill(self) -> None:
        """Run nothing any more."""
        self.dead = True
        for loop in (self, *self.threads):
            self._world.loops.remove(loop)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Take what nobody caught: in a process that is alive that must not happen."""
        if not self.dead:
            self._world.violate(f"{self.name}: {context['message']}: {context.get('exception')!r}")

    def bury(self) -> None:
        """Let every task see its cancellation: Python complains about those that are left."""
        self.dead = True
        for _ in range(_FAREWELLS):
            for task in asyncio.all_tasks(self):
                task.cancel()
            while self._ready:
                self.turn()
        assert not asyncio.all_tasks(self), (
            f"{self.name} cannot be ended: {asyncio.all_tasks(self)}"
        )
        self._scheduled.clear()
        self.close()

    def _write_to_self(self) -> None:
        """Nobody waits in a selector."""

    def _timer_handle_cancelled(self, handle: Any) -> None:
        """Cancelled timers are passed over when they are due."""
