"""When a silence is noticed, and who waits because of it."""

import asyncio

from fleet.engine.admission.ownership import OwnershipCheck


class Clock:
    """A clock that is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def make_pulse() -> tuple[OwnershipCheck, Clock]:
    clock = Clock()
    return OwnershipCheck(10, clock), clock


async def test_a_silence_within_one_turn_of_the_loop_is_noticed() -> None:
    """The clock is asked and not the loop, whose own may stand still in a turn (uvloop)."""
    ownership, clock = make_pulse()
    assert ownership.heartbeat()

    clock.now += 11

    assert not ownership.heartbeat()
    assert ownership.suspicions == 1


async def test_beats_that_are_near_enough_are_no_silence() -> None:
    ownership, clock = make_pulse()
    for _ in range(5):
        assert ownership.heartbeat()
        clock.now += 10
    assert ownership.suspicions == 0


async def test_after_a_silence_nothing_begins_until_it_is_confirmed() -> None:
    ownership, clock = make_pulse()
    ownership.heartbeat()
    clock.now += 11
    beginning = asyncio.create_task(ownership.until_confirmed())
    await asyncio.sleep(0)
    assert not beginning.done()
    # It runs again, which tells nothing about whose the partitions are.
    assert not ownership.heartbeat()

    ownership.confirm(ownership.suspicions)

    await beginning
    assert ownership.heartbeat()


async def test_what_was_let_go_asks_again_when_its_turn_comes() -> None:
    """Between the confirmation and its turn the process may be stopped, or another doubt come."""
    ownership, clock = make_pulse()
    ownership.suspect()
    beginning = asyncio.create_task(ownership.until_confirmed())
    await asyncio.sleep(0)

    ownership.confirm(ownership.suspicions)
    clock.now += 11
    await asyncio.sleep(0)
    assert not beginning.done()

    ownership.confirm(ownership.suspicions)
    ownership.suspect()
    await asyncio.sleep(0)
    assert not beginning.done()

    ownership.confirm(ownership.suspicions)
    await beginning
