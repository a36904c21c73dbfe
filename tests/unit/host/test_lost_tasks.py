"""Tasks whose log was lost, and a group that refuses a worker: when we act by ourselves."""

from types import SimpleNamespace

import pytest
from aiokafka.errors import InvalidSessionTimeoutError

from fleet.host.host import Host
from fleet.host.lost_tasks import REOPEN_SECONDS, LostTasks
from fleet.kafka.membership import REFUSED_SECONDS, GroupRefused, Refusals


class Engine:
    """An engine with one task, which is lost."""

    topics = SimpleNamespace(engine_id="fleet.joke.main")
    inputs = frozenset[str]()

    def __init__(self) -> None:
        self.lost = [0]
        self.reopened: list[int] = []

    async def reopen(self, partition: int) -> None:
        self.reopened.append(partition)


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def lost_tasks(engine: Engine, clock: Clock) -> LostTasks:
    host = Host()
    host.engines.add(engine)  # type: ignore[arg-type]
    return LostTasks(host, clock)


async def test_a_lost_task_is_opened_again_after_a_while() -> None:
    """Nobody else has taken the partition, so the broker gave up on a transaction: ours to mend."""
    engine, clock = Engine(), Clock()
    lost = lost_tasks(engine, clock)

    await lost.reopen()
    clock.now = REOPEN_SECONDS
    await lost.reopen()
    assert not engine.reopened
    clock.now = REOPEN_SECONDS + 1
    await lost.reopen()

    assert engine.reopened == [0]


async def test_a_rebalance_starts_the_wait_anew() -> None:
    """A task that is lost after a rebalance waits its full time, whatever was lost before it."""
    engine, clock = Engine(), Clock()
    lost = lost_tasks(engine, clock)
    await lost.reopen()
    clock.now = REOPEN_SECONDS - 1
    lost.replaced()

    clock.now = REOPEN_SECONDS + 1
    await lost.reopen()

    assert not engine.reopened


def test_a_group_that_goes_on_refusing_ends_the_worker() -> None:
    """The sentence names the group, what it said, and what to look at."""
    clock = Clock()
    refusals = Refusals("fleet.joke.main", clock)
    refusals.note(InvalidSessionTimeoutError())
    clock.now = REFUSED_SECONDS

    with pytest.raises(GroupRefused, match=r"fleet\.joke\.main.*FLEET_SESSION_SECONDS"):
        refusals.note(InvalidSessionTimeoutError())


def test_a_refusal_now_and_then_ends_nobody() -> None:
    """A coordinator that moves refuses for a moment."""
    clock = Clock()
    refusals = Refusals("fleet.joke.main", clock)

    for _ in range(3):
        refusals.note(InvalidSessionTimeoutError())
        clock.now += REFUSED_SECONDS - 1
        refusals.note(None)
        clock.now += 2
