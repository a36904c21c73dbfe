"""
What goes wrong with worker processes, one coroutine per fault.

The only times here are those that a fault consists of: how long a process is frozen, and how often
a storm changes the group.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from crew import Member
from scene import Scene

#: How long a worker is frozen, in session timeouts. It stays so until its runs went on.
FROZEN_SESSIONS = 2
#: How long a storm waits between two changes.
STORM_SECONDS = (2.0, 4.0)
#: Where the places of those begin that come with a storm.
STORM_PLACES = 10

Fault = Callable[[Scene], Awaitable[None]]


async def kill(scene: Scene) -> None:
    """SIGKILL; a supervisor starts it again at once."""
    await _killed(scene, 1)


async def kill_and_wipe(scene: Scene) -> None:
    """SIGKILL, and its state folder is lost."""
    await _killed(scene, 1, wipe=True)


async def kill_two(scene: Scene) -> None:
    """SIGKILL of two workers at once."""
    await _killed(scene, 2)


async def _killed(scene: Scene, number: int, *, wipe: bool = False) -> None:
    victims = await scene.busy(number)
    for each in victims:
        each.worker.process.kill()
    scene.note(victims, gentle=False)
    for each in victims:
        each.worker.kill()
        scene.crew.dismiss(each)
        if wipe:
            scene.crew.wipe(each.place)
    for each in victims:
        scene.crew.hire(each.place)
    await scene.settled()


async def terminate(scene: Scene) -> None:
    """SIGTERM; a supervisor starts it again once it has ended."""
    [victim] = await scene.busy()
    await _restarted(scene, victim)


async def rolling_restart(scene: Scene) -> None:
    """SIGTERM of one after the other; the next one's turn comes when its successor works."""
    for victim in list(scene.crew.members):
        await scene.is_busy(victim)
        await _restarted(scene, victim)


async def _restarted(scene: Scene, victim: Member) -> None:
    scene.note([victim])
    await scene.stop(victim)
    scene.crew.hire(victim.place)
    await scene.settled()


async def freeze(scene: Scene) -> None:
    """SIGSTOP for longer than the session timeout, then SIGCONT, when its work is elsewhere."""
    [victim] = await scene.busy()
    victim.worker.freeze()
    fault = scene.note([victim], gentle=False)
    try:
        work = await scene.on_its_way(victim)
        await asyncio.sleep(FROZEN_SESSIONS * scene.crew.settings.session_seconds)
        await scene.gone_on(work, since=fault.at)
    finally:
        victim.worker.wake()
    await scene.back(victim)


async def storm(scene: Scene) -> None:
    """One worker comes and one leaves, without waiting for the group to settle."""
    for change in (_join, _leave):
        await asyncio.sleep(scene.random.uniform(*STORM_SECONDS))
        await change(scene)


async def _join(scene: Scene) -> None:
    await scene.busy()
    scene.note(scene.crew.members)
    scene.crew.hire(STORM_PLACES + len(scene.injected))


async def _leave(scene: Scene) -> None:
    [victim] = await scene.busy()
    scene.note([victim])
    await scene.stop(victim)


class Kind(NamedTuple):
    """A fault, and how often 2,000 runs give time for it."""

    inject: Fault
    times: int


#: By the name in the table.
FAULTS = {
    "kill -9": Kind(kill, 4),
    "kill -9, state folder deleted": Kind(kill_and_wipe, 4),
    "kill -9 of two at once": Kind(kill_two, 3),
    "SIGTERM": Kind(terminate, 4),
    "SIGSTOP, SIGCONT": Kind(freeze, 3),
    "rebalance storm": Kind(storm, 6),
    "rolling restart": Kind(rolling_restart, 2),
}
