"""When a silence is noticed, and who waits because of it."""

import asyncio

from fleet.engine.pulse import Pulse


class Clock:
    """A clock that is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def make_pulse() -> tuple[Pulse, Clock]:
    clock = Clock()
    return Pulse(10, clock), clock


async def test_a_silence_within_one_turn_of_the_loop_is_noticed() -> None:
    """The clock is asked and not the loop, whose own may stand still in a turn (uvloop)."""
    pulse, clock = make_pulse()
    assert pulse.beat()

    clock.now += 11

    assert not pulse.beat()
    assert pulse.doubts == 1


async def test_beats_that_are_near_enough_are_no_silence() -> None:
    pulse, clock = make_pulse()
    for _ in range(5):
        assert pulse.beat()
        clock.now += 10
    assert pulse.doubts == 0


async def test_after_a_silence_nothing_begins_until_it_is_confirmed() -> None:
    pulse, clock = make_pulse()
    pulse.beat()
    clock.now += 11
    beginning = asyncio.create_task(pulse.sure())
    await asyncio.sleep(0)
    assert not beginning.done()
    # It runs again, which tells nothing about whose the partitions are.
    assert not pulse.beat()

    pulse.confirmed(pulse.doubts)

    await beginning
    assert pulse.beat()


async def test_what_was_let_go_asks_again_when_its_turn_comes() -> None:
    """Between the confirmation and its turn the process may be stopped, or another doubt come."""
    pulse, clock = make_pulse()
    pulse.doubt()
    beginning = asyncio.create_task(pulse.sure())
    await asyncio.sleep(0)

    pulse.confirmed(pulse.doubts)
    clock.now += 11
    await asyncio.sleep(0)
    assert not beginning.done()

    pulse.confirmed(pulse.doubts)
    pulse.doubt()
    await asyncio.sleep(0)
    assert not beginning.done()

    pulse.confirmed(pulse.doubts)
    await beginning
