"""
What a fault may look at and change, and what it notes.

Nothing here waits a fixed time and hopes. A fault strikes once its victim has enough calls in
flight, and it is over once whoever has to work does: the scripted model got a call from it.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from calls import Calls, Work
from crew import Crew, Member
from native import eventually
from verdict import Injected

T = TypeVar("T")

#: Calls on their way at a victim before a fault strikes. More than the table has to show, for some
#: are committed while we look.
ENOUGH_IN_FLIGHT = 22
#: How long anything may take that has to happen.
PATIENCE_SECONDS = 90.0


class WorkEnded(Exception):
    """Raised when every run has ended, so that nothing more can go wrong with one."""


class BadExit(AssertionError):
    """Raised when a worker ends that should not, or not with 0."""


class Scene:
    """A crew at work, seen through the calls that the scripted model gets."""

    def __init__(self, crew: Crew, calls: Calls, work: "asyncio.Task[Any]", seed: int) -> None:
        self.crew = crew
        self.random = random.Random(seed)
        self.injected: list[Injected] = []
        #: When somebody came back.
        self.returns: list[Injected] = []
        self._calls = calls
        self._work = work

    def note(self, victims: list[Member], *, gentle: bool = True) -> Injected:
        """Note a fault that strikes *victims* now."""
        names = tuple(each.name for each in victims)
        self.injected.append(Injected(time.time(), names, gentle))
        return self.injected[-1]

    async def settled(self) -> None:
        """Wait until the group consists of the crew, and everybody has something to do."""

        async def look() -> bool:
            ended = [each.name for each in self.crew.members if not each.worker.is_alive()]
            if ended:
                raise BadExit(f"{ended} ended unasked; see their logs in {self.crew.folder}")
            return await self.crew.settled()

        await eventually(look, PATIENCE_SECONDS)

    async def back(self, member: Member) -> None:
        """Wait until *member* has joined the group again."""
        await self.settled()
        others = tuple(each.name for each in self.crew.members if each is not member)
        self.returns.append(Injected(time.time(), others))

    async def answered(self, number: int) -> None:
        """Wait until the model has answered *number* calls, so that faults do not stop all work."""
        await self._eventually(
            lambda: sum(each.answered is not None for each in self._calls.all) >= number
        )

    async def busy(self, number: int = 1) -> list[Member]:
        """Wait until *number* members have enough in flight, and return some that have."""

        def look() -> list[Member]:
            found = [each for each in self.crew.members if self._has_enough(each)]
            return self.random.sample(found, number) if len(found) >= number else []

        return await self._eventually(look)

    async def is_busy(self, member: Member) -> None:
        """Wait until *member* has enough in flight."""
        await self._eventually(lambda: self._has_enough(member))

    async def on_its_way(self, member: Member) -> set[Work]:
        """Return what *member* has asked and got no answer to."""
        await self._calls.refresh()
        return {each.work for each in self._calls.open_by(member.name)}

    async def gone_on(self, work: set[Work], since: float) -> None:
        """Wait until a run went on by a step of *work* that somebody else began after *since*."""

        def look() -> bool:
            later = {each.work for each in self._calls.all if each.started > since}
            return any(
                step == "tell" and (run_id, step) in work and (run_id, "judge") in later
                for run_id, step in later
            )

        await self._eventually(look)

    async def stop(self, member: Member) -> None:
        """SIGTERM; wait until it has ended, which has to be with 0."""
        self.crew.dismiss(member)
        code = await asyncio.to_thread(member.worker.terminate)
        if code != 0:
            raise BadExit(f"{member.name} ended with {code}; see its log in {self.crew.folder}")

    def _has_enough(self, member: Member) -> bool:
        return len(self._calls.open_by(member.name)) >= ENOUGH_IN_FLIGHT

    async def _eventually(self, look: Callable[[], T]) -> T:
        """Return what *look* finds; raises WorkEnded where nothing more can come."""

        async def unless_ended() -> T:
            await self._calls.refresh()
            found = look()
            if not found and self._work.done():
                raise WorkEnded
            return found

        return await eventually(unless_ended, PATIENCE_SECONDS)
