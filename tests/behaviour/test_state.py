"""What the steps of a run share: `ctx.store`."""

import asyncio
from uuid import uuid4

import pytest

from behaviour import gates
from behaviour.library import REFERENCE
from behaviour.runtimes import Runtime


@pytest.mark.parametrize(
    ("flow", "result"),
    [
        ("Keeps", [1, "Ann", {"name": "Ann"}, "Bo", "Cy"]),
        ("Misses", [7, None, True, True]),
        ("Clears", [None, None, None, 3]),
        ("Typed", ["Town", "Ann", 26, []]),
        ("TypedClears", ["Jane", 25]),
        ("Edits", 10),
        ("EditsUntyped", [2, ["a", "b"]]),
        ("Inherits", ["WiderState", "changed", 1]),
        ("FailsInAnEdit", 25),
    ],
)
async def test_steps_share_the_state_of_their_run(
    runtime: Runtime, flow: str, result: object
) -> None:
    """By path, with defaults, typed or not, edited one at a time."""
    seen = await runtime.run(f"scenarios.state.{flow}")

    assert (seen.result, seen.raised) == (result, "")


async def test_a_typed_state_has_its_defaults(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.state.Typed")

    assert seen.notes == ["Ulm 25 []"]


async def test_what_a_step_got_is_a_copy(runtime: Runtime) -> None:
    """In the reference it is the store's own, as long as no process ends."""
    seen = await runtime.run("scenarios.state.KeepsWhatItGot")

    assert seen.result == ([1, 2] if runtime.name == REFERENCE else [1])


async def test_a_missing_value_without_a_default_is_a_value_error(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.state.FailsOnMissing")

    assert isinstance(seen.error, ValueError)
    assert "none" in str(seen.error)


async def test_each_run_has_a_state_of_its_own(runtime: Runtime) -> None:
    results = [await runtime.start("scenarios.state.Counts") for _ in range(2)]

    assert results == [1, 1]


async def test_a_caller_reads_the_state_after_the_end(runtime: Runtime) -> None:
    handler = runtime.start("scenarios.state.Keeps")
    await handler

    assert await handler.ctx.store.get("town.mayor.name") == "Ann"
    assert await handler.ctx.store.get("none", default=4) == 4


async def test_a_caller_reads_a_typed_state_after_the_end(runtime: Runtime) -> None:
    handler = runtime.start("scenarios.state.Typed")
    await handler

    state = await handler.ctx.store.get_state()
    assert (type(state).__name__, state.mayor.name) == ("Town", "Ann")


async def test_a_caller_sees_which_steps_run_and_what_they_have_set(runtime: Runtime) -> None:
    key = uuid4().hex
    handler = runtime.start("scenarios.state.Waits", key=key)
    async with asyncio.timeout(30):
        async for event in handler.stream_events():
            if type(event).__name__ == "Note":
                # On Kafka a look sees what is committed, and that a step began is a moment later.
                while await handler.ctx.running_steps() != ["work"]:  # noqa: ASYNC110 - a log is read
                    await asyncio.sleep(0.05)
                assert await handler.ctx.store.get("begun") == 1
                gates.open_gate(key)
        assert await handler == "done"
