"""Steps that are plain functions."""

import pytest

from behaviour.library import REFERENCE
from behaviour.runtimes import Runtime


@pytest.mark.parametrize(
    ("flow", "result"),
    [
        ("SyncOnly", 1),
        ("SyncAndAsync", "another thread"),
        ("SyncTogether", [1, 2]),
        ("SyncCollects", [0, 1, 2]),
    ],
)
async def test_a_plain_function_is_a_step_in_a_thread(
    runtime: Runtime, flow: str, result: object
) -> None:
    """It does not hold the event loop, and its context is that of any step."""
    seen = await runtime.run(f"scenarios.threads.{flow}")

    assert (seen.result, seen.raised) == (result, "")


async def test_a_plain_function_sends_and_shows_events(runtime: Runtime) -> None:
    """The reference refuses both in a thread."""
    if runtime.name == REFERENCE:
        pytest.skip("RuntimeError: no running event loop")
    seen = await runtime.run("scenarios.threads.SyncSends")

    assert (seen.result, seen.raised) == (2, "")
    assert seen.notes == ["shown"]


async def test_a_plain_function_that_raises_fails_the_run(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.threads.SyncFails")

    assert isinstance(seen.error, LookupError)
    assert str(seen.error) == "not in the index"
