"""
Who begins a step next, when FLEET_SLOTS of them run.

The runs of a worker take turns, so a run with a thousand steps delays another one by one step. What
waits for a slot is an entry in its run's line: it has no coroutine. A task that may begin nothing
now (see `uncommitted`) keeps its lines and holds no slot meanwhile.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar


class Holder(Protocol):
    """A task whose steps wait for a slot."""

    @property
    def held_back(self) -> bool:
        """Whether none of its steps may begin now."""
        ...


T = TypeVar("T")


class Line(Generic[T]):
    """What waits for a slot of one run in one task, in the order in which it came."""

    def __init__(self, holder: Holder, begin: Callable[[T], object]) -> None:
        self.holder = holder
        self._begin = begin
        self._waiting: OrderedDict[int, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, waiting: T) -> bool:
        return id(waiting) in self._waiting

    def append(self, waiting: T) -> None:
        """Add what waits."""
        self._waiting[id(waiting)] = waiting

    def remove(self, waiting: T) -> bool:
        """Let it wait no more; tell whether it did."""
        return self._waiting.pop(id(waiting), None) is not None

    def begin_next(self) -> bool:
        """Begin what has waited longest; tell whether there was any."""
        if not self._waiting:
            return False
        _, waiting = self._waiting.popitem(last=False)
        self._begin(waiting)
        return True


class Slots:
    """The steps that may run at once in a worker."""

    def __init__(self, count: int) -> None:
        self.total = count
        self.free = count
        self._turns: deque[Line[Any]] = deque()
        #: The lines of tasks that were held back at their turn.
        self._held_back: dict[Holder, list[Line[Any]]] = {}
        self._waiting: set[Line[Any]] = set()

    def wait(self, line: Line[Any]) -> None:
        """Let a line begin in turn with others, as slots are free."""
        if line not in self._waiting:
            self._waiting.add(line)
            self._turns.append(line)
        self.hand_out()

    def give_back(self) -> None:
        """Note that a step has ended."""
        self.free += 1
        self.hand_out()

    def hand_out(self) -> None:
        """Begin what may begin; called when a task that was held back is so no more, too."""
        if not self.free:
            return
        for holder in [one for one in self._held_back if not one.held_back]:
            # It was their turn.
            self._turns.extendleft(reversed(self._held_back.pop(holder)))
        while self.free and self._turns:
            line = self._turns.popleft()
            if line.holder.held_back:
                self._held_back.setdefault(line.holder, []).append(line)
            elif line.begin_next():
                self.free -= 1
                self._turns.append(line)
            else:
                self._waiting.discard(line)
