"""Steps that collect events themselves: `ctx.collect_events`."""

import pytest

from behaviour.runtimes import Runtime


@pytest.mark.parametrize(
    ("flow", "result"),
    [
        ("AsExpected", [10, 0, 11, 1]),
        ("ThreeTypes", [3, 1, 2]),
        ("Nothing", []),
        ("OnlyOne", ["StartEvent"]),
        ("Unexpected", [1, 2]),
        ("Surplus", [0, 0]),
        ("Buffers", ["even [0, 2, 4]", "odd [1, 3, 5]"]),
        ("TwoCollectors", ["one 4", "two 4"]),
        ("AtOnce", list(range(20))),
    ],
)
async def test_collected_events_come_as_they_were_expected(
    runtime: Runtime, flow: str, result: object
) -> None:
    """By type, by arrival within a type, by buffer and step; what was not asked for is dropped."""
    seen = await runtime.run(f"scenarios.collecting.{flow}")

    assert (seen.result, seen.raised) == (result, "")


async def test_collecting_gives_none_until_all_are_there(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.collecting.AsExpected")

    assert seen.notes == ["not yet"] * 3


async def test_a_buffer_is_empty_again_when_all_were_there(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.collecting.Batches")

    assert (seen.result, seen.notes) == ("done", ["[0, 1]", "[2, 3]", "[4, 5]"])


async def test_of_many_attempts_at_once_one_gets_all(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.collecting.AtOnce")

    assert seen.notes[-1:] == ["complete"]
