"""Steps with several event parameters."""

import pytest

from behaviour.runtimes import Runtime


@pytest.mark.parametrize(
    ("flow", "result"),
    [
        ("ThreeParts", "hbf"),
        ("SubclassParts", ["LongHeader", "H", "LongBody", "B"]),
        ("OverlappingParts", ["short", "long"]),
        ("OwnBuffer", None),
        ("PartMissing", "without a body"),
        ("PartsInBranches", [[0, 1, 2], [10, 11, 12]]),
    ],
)
async def test_a_step_waits_for_one_event_of_each_parameter(
    runtime: Runtime, flow: str, result: object
) -> None:
    """Bound by type, whatever the order of arrival."""
    seen = await runtime.run(f"scenarios.joins.{flow}")

    assert (seen.result, seen.raised) == (result, "")


async def test_parts_of_parallel_steps_are_joined(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.joins.PartsOfSteps", topic="cats")

    assert (seen.result, seen.raised) == (["h cats", "b cats"], "")


async def test_a_join_begins_once(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.joins.ThreeParts")

    assert seen.notes == ["once"]


async def test_parameters_of_one_type_are_filled_by_arrival(runtime: Runtime) -> None:
    """And again with the next ones."""
    seen = await runtime.run("scenarios.joins.SameType")

    assert (seen.result, seen.raised) == (["ab", "cd", "ef"], "")
    assert seen.notes == ["ab", "cd", "ef"]
