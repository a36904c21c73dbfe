"""
Who begins a step next, when FLEET_SLOTS of them run.

The tasks of a worker take turns. What waits for a slot is an entry in its task's queue: it has no
coroutine, and a task that may begin nothing now (see `uncommitted`) holds no slot meanwhile.
"""

from collections import deque
from typing import Protocol


class Waiting(Protocol):
    """A task whose steps wait for a slot."""

    @property
    def held_back(self) -> bool:
        """Whether none of its steps may begin now."""
        ...

    def begin_next(self) -> bool:
        """Begin the step that has waited longest; tell whether there was one."""
        ...


class Slots:
    """The steps that may run at once in a worker."""

    def __init__(self, count: int) -> None:
        self.free = count
        self._turns: deque[Waiting] = deque()
        self._waiting: set[int] = set()

    def wait(self, waiting: Waiting) -> None:
        """Let the steps of a task begin in turn with those of others, as slots are free."""
        if id(waiting) not in self._waiting:
            self._waiting.add(id(waiting))
            self._turns.append(waiting)
        self.hand_out()

    def give_back(self) -> None:
        """Note that a step has ended."""
        self.free += 1
        self.hand_out()

    def hand_out(self) -> None:
        """Begin what may begin; called when a task that was held back is so no more, too."""
        held_back = 0
        while self.free and held_back < len(self._turns):
            turn = self._turns.popleft()
            if turn.held_back:
                held_back += 1
                self._turns.append(turn)
                continue
            held_back = 0
            if turn.begin_next():
                self.free -= 1
                self._turns.append(turn)
            else:
                self._waiting.discard(id(turn))
