"""Fan-outs in fan-outs, one after the other, again, and beside one another."""

import pytest

from behaviour.library import REFERENCE
from behaviour.runtimes import Runtime


@pytest.mark.parametrize(
    ("flow", "result"),
    [
        ("Nested", [[0, 2], [1, 2], [2, 2]]),
        ("UnevenlyNested", [[-1, 0], [1, 1], [2, 1]]),
        ("NestedTake", [[0, 2], [1, 2]]),
        ("ThreeDeep", [[2, 4], [2, 4]]),
        ("JoinsAndSplits", [[0, 2], [1, 2]]),
        ("OneAfterTheOther", [[4, 2], [4, 3]]),
        ("Repeated", [300, 301, 302]),
        ("Beside", [[0, 2], [1, 3], [2, 4]]),
    ],
)
async def test_each_join_closes_its_own_fan_out(
    runtime: Runtime, flow: str, result: object
) -> None:
    seen = await runtime.run(f"scenarios.nested.{flow}")

    assert (seen.result, seen.raised) == (result, "")


async def test_inner_joins_fire_before_the_outer_one(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.nested.Nested")

    assert seen.notes == ["inner", "inner", "inner", "outer"]


async def test_a_repeated_fan_out_is_another_one(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.nested.Repeated")

    assert seen.notes == ["[100, 101, 102]", "[200, 201, 202]", "[300, 301, 302]"]


async def test_a_join_that_fans_out_is_closed_once_for_each_list(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.nested.JoinsAndSplits")

    assert seen.notes == ["2", "2"]


async def test_an_event_in_place_of_an_inner_list_goes_to_the_join_around(
    runtime: Runtime,
) -> None:
    """In the reference that join also closes the inner lists: it begins with none."""
    seen = await runtime.run("scenarios.nested.BareInABranch")

    expected = [] if runtime.name == REFERENCE else [[0, 2], [1, -1], [2, 2]]
    assert (seen.result, seen.raised) == (expected, "")
