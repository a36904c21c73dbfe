"""Lists that fan out, and joins that take lists."""

from uuid import uuid4

import pytest

from behaviour import gates
from behaviour.runtimes import Runtime


@pytest.mark.parametrize(
    ("flow", "result"),
    [
        ("FanOut", [0, 1, 2, 3]),
        ("TwoKinds", [[0, 2, 4], [1, 3, 5]]),
        ("NoneShrinks", [1, 3, 5]),
        ("AllEndInNone", []),
        ("NoneOpensNothing", [0, 1]),
        ("StraightToTheJoin", [0, 1, 2]),
        ("LongBranches", [10, 11, 12, 13]),
        ("BroadcastInABranch", [0, 1, 2, 10, 11, 12]),
        ("TwoJoins", [1, 109]),
        ("TwoJoinsOfOneType", [5, 105]),
        ("ExplicitCollect", [0, 1, 2, 3]),
        ("ExplicitAll", [0, 1, 2, 3]),
        ("TakesMore", [0, 1, 2]),
        ("TakesOfNothing", []),
        ("SentBesides", [0, 1, 2]),
    ],
)
async def test_a_join_gets_what_its_fan_out_gave(
    runtime: Runtime, flow: str, result: object
) -> None:
    """All members, once, however the branches end."""
    seen = await runtime.run(f"scenarios.fan_out.{flow}")

    assert (seen.result, seen.raised) == (result, "")


@pytest.mark.parametrize("count", [0, 1, 120])
async def test_a_join_fires_once_for_any_number_of_branches(runtime: Runtime, count: int) -> None:
    """Also for none."""
    seen = await runtime.run("scenarios.fan_out.FanOut", count=count)

    assert (seen.result, seen.raised) == (list(range(count)), "")
    assert seen.notes == ["joined"]


async def test_members_are_in_the_order_of_completion(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.fan_out.CompletionOrder", key=uuid4().hex)

    assert (seen.result, seen.raised) == ([3, 2, 1, 0], "")


async def test_none_in_place_of_a_list_opens_nothing(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.fan_out.NoneOpensNothing")

    assert seen.notes == ["joined"]


@pytest.mark.parametrize(("flow", "result"), [("BareInstead", 7), ("BareOfTheSame", 5)])
async def test_a_single_event_in_place_of_a_list_is_an_ordinary_event(
    runtime: Runtime, flow: str, result: int
) -> None:
    seen = await runtime.run(f"scenarios.fan_out.{flow}")

    assert (seen.result, seen.raised, seen.notes) == (result, "", [])


@pytest.mark.parametrize(
    ("flow", "said"),
    [
        ("BareUnasked", ["split", "Done", "list"]),
        ("TextInAList", ["split", "str"]),
        ("ListUnasked", ["split", "list"]),
        ("SentToTheJoin", ["join"]),
    ],
)
async def test_what_no_annotation_allows_fails_the_run(
    runtime: Runtime, flow: str, said: list[str]
) -> None:
    """With a WorkflowRuntimeError that says which step and what it gave."""
    seen = await runtime.run(f"scenarios.fan_out.{flow}")

    assert isinstance(seen.error, runtime.name_of("WorkflowRuntimeError")), seen
    for word in said:
        assert word in str(seen.error)


async def test_a_take_gets_the_first_and_leaves_the_others_running(runtime: Runtime) -> None:
    """It fires once, while branches still run; they complete."""
    key = uuid4().hex
    handler = runtime.start("scenarios.fan_out.TakesTwo", key=key)
    notes = []
    async for event in handler.stream_events():
        if type(event).__name__ == "Note":
            notes.append(event.text)
            if event.text == "joined":
                gates.open_gate(f"{key}joined")

    assert notes == ["[4, 3]", "joined"]
    assert await handler == 5


async def test_a_take_may_end_the_run(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.fan_out.TakesOneAndEnds")

    assert (seen.result, seen.raised, seen.notes) == (1, "", ["joined"])


@pytest.mark.parametrize("count", [1, 60])
async def test_events_sent_in_a_loop_are_collected(runtime: Runtime, count: int) -> None:
    seen = await runtime.run("scenarios.fan_out.SentInALoop", count=count)

    assert (seen.result, seen.raised) == (list(range(count)), "")


async def test_a_branch_that_raises_fails_the_run_before_the_join(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.fan_out.BranchFails")

    assert seen.raised == "LookupError: nothing about 2"
    assert seen.notes == []


async def test_a_branch_may_end_the_run_before_the_join(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.fan_out.BranchEndsTheRun")

    assert (seen.result, seen.raised, seen.notes) == ("found it", "", [])
