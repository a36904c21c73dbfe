"""Readers of streams: several, late, from a cursor, and while a step runs again."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from behaviour.library import REFERENCE
from behaviour.runtimes import Runtime, outcome

_COUNTED = ["0", "1", "2", "3", "4", "StopEvent"]


def said(event: Any) -> str:
    """Return the text of a note; the type of another event."""
    return event.text if type(event).__name__ == "Note" else type(event).__name__


async def rest(events: Any) -> list[str]:
    """Read a stream to its end."""
    async with asyncio.timeout(20):
        return [said(event) async for event in events]


async def test_readers_see_all_of_a_stream_at_the_same_time(runtime: Runtime) -> None:
    """The reference gives each stream to one reader."""
    handler = runtime.start("scenarios.streams.CountsAloud", notes=5)
    if runtime.name == REFERENCE:
        assert await rest(handler.stream_events()) == _COUNTED
        return
    readers = [rest(handler.stream_events()) for _ in range(3)]
    assert await asyncio.gather(*readers) == [_COUNTED] * 3


async def test_a_reader_continues_behind_its_cursor(runtime: Runtime) -> None:
    """With the same handler, and with another of a start with the same id.

    The reference's `stream_events` has no cursor: its server numbers the events of its clients.
    """
    flow = runtime.flow("scenarios.streams.CountsAloud")
    if runtime.name == REFERENCE:
        assert not hasattr(flow.run(notes=5).stream_events(), "cursor")
        return
    run_id = uuid4().hex
    handler = flow.run(notes=5, run_id=run_id)
    events = handler.stream_events()
    first = [said(await anext(events)) for _ in range(2)]
    assert first + await rest(handler.stream_events(after=events.cursor)) == _COUNTED
    again = flow.run(notes=5, run_id=run_id)
    assert first + await rest(again.stream_events(after=events.cursor)) == _COUNTED
    assert await again == "counted"


async def test_a_start_with_the_id_of_a_run_sees_its_stream_from_the_beginning(
    runtime: Runtime,
) -> None:
    """Also after its end."""
    if runtime.name == REFERENCE:
        pytest.skip("a run id is no key there: each start is a run")
    flow, run_id = runtime.flow("scenarios.streams.CountsAloud"), uuid4().hex
    assert await flow.run(notes=5, run_id=run_id) == "counted"
    assert await rest(flow.run(notes=5, run_id=run_id).stream_events()) == _COUNTED


async def test_what_a_failed_attempt_showed_stays_and_the_next_is_announced(
    runtime: Runtime,
) -> None:
    """The announcement is for those alone who ask for internal events; the reference has none."""
    seen = await runtime.run("scenarios.streams.ShowsAgain")
    assert seen.notes == ["0.0", "0.1", "1.0", "1.1"]
    assert seen.types == ["Note"] * 4 + ["StopEvent"]
    if runtime.name == REFERENCE:
        return
    told = await outcome(runtime.start("scenarios.streams.ShowsAgain"), internal=True)
    assert told.types == ["Note", "Note", "StreamRestarted", "Note", "Note", "StopEvent"]
    assert (told.stream[2].step_name, told.stream[2].void_events) == ("begin", 2)


async def test_a_cursor_of_another_run_is_refused(runtime: Runtime) -> None:
    if runtime.name == REFERENCE:
        pytest.skip("there are no cursors there")
    other = runtime.start("scenarios.streams.CountsAloud", notes=1).stream_events()
    await anext(other)
    with pytest.raises(ValueError, match="of another run"):
        runtime.start("scenarios.streams.CountsAloud", notes=1).stream_events(after=other.cursor)
