"""Suspects run together, or one alone."""

import asyncio

from fleet.engine.admission.places import Places


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_is_alone_waits_for_the_others_and_they_for_it() -> None:
    """A death then says which of them it was."""
    places = Places()
    await places.join(few=True)
    await places.join(few=False)
    alone = asyncio.create_task(places.be_alone())
    await _turns()
    assert not alone.done()
    places.leave(few=True)
    places.leave(few=False)
    await alone

    other, next_one = (
        asyncio.create_task(places.join(few=False)),
        asyncio.create_task(places.be_alone()),
    )
    await _turns()
    assert not other.done()
    assert not next_one.done()
    places.let_others()
    await other
    await _turns()
    assert not next_one.done()
    places.leave(few=False)
    await next_one


async def test_who_gives_up_waiting_holds_nothing() -> None:
    """A step that is stopped while it waits leaves its place to the others."""
    places = Places()
    await places.join(few=True)
    alone = asyncio.create_task(places.be_alone())
    await _turns()
    alone.cancel()
    await asyncio.gather(alone, return_exceptions=True)
    places.leave(few=True)
    await places.be_alone()
    waiting = asyncio.create_task(places.join(few=True))
    await _turns()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    places.let_others()
    await places.join(few=True)
