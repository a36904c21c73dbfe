"""Steps that are tried again: which failures, how often, and what the attempts know."""

from uuid import uuid4

import pytest

from behaviour.runtimes import Runtime

HOME = "scenarios.retrying"


def key() -> str:
    return uuid4().hex


async def test_a_step_is_tried_again_until_it_succeeds(runtime: Runtime) -> None:
    seen = await runtime.run(f"{HOME}.SucceedsLater", key=key(), failures=2)

    assert (seen.result, seen.raised) == (3, "")
    assert seen.notes[-1] == "try 3"


async def test_attempts_that_are_used_up_fail_the_run(runtime: Runtime) -> None:
    """`stop_after_attempt(4)` is four executions, and the error is that of the last."""
    seen = await runtime.run(f"{HOME}.SucceedsLater", key=key(), failures=9)

    assert seen.raised == "Busy: try 4"
    assert seen.types[-1] == "WorkflowFailedEvent"


@pytest.mark.parametrize(
    ("kind", "failures", "seen_as"),
    [("busy", 2, "3"), ("later", 1, "2"), ("wrong", 1, "Wrong: wrong"), ("busy", 3, "Busy: busy")],
)
async def test_conditions_decide_what_is_tried_again(
    runtime: Runtime, kind: str, failures: int, seen_as: str
) -> None:
    seen = await runtime.run(f"{HOME}.OnlySome", key=key(), kind=kind, failures=failures)

    assert (seen.raised or f"{seen.result}") == seen_as


@pytest.mark.parametrize(("kind", "seen_as"), [("busy", "2"), ("wrong", "Wrong: wrong")])
async def test_an_error_may_be_excepted(runtime: Runtime, kind: str, seen_as: str) -> None:
    seen = await runtime.run(f"{HOME}.AllButSome", key=key(), kind=kind)

    assert (seen.raised or f"{seen.result}") == seen_as


async def test_without_a_policy_the_first_failure_is_the_last(runtime: Runtime) -> None:
    seen = await runtime.run(f"{HOME}.NoPolicy", key=key())

    assert seen.raised == "Busy: try 1"


async def test_an_attempt_knows_of_those_before(runtime: Runtime) -> None:
    seen = await runtime.run(f"{HOME}.TellsItsTries")

    assert seen.result == [2, "Busy", "retry 1", True, "UTC"]


async def test_the_first_attempt_knows_of_none(runtime: Runtime) -> None:
    seen = await runtime.run(f"{HOME}.FirstTells")

    assert seen.result == [0, 0.0, None, None]


async def test_of_a_fan_out_only_what_failed_is_tried_again(runtime: Runtime) -> None:
    seen = await runtime.run(f"{HOME}.OneOfMany", key=key())

    assert seen.result == [[n, 1 + n % 3] for n in range(6)]


async def test_a_join_is_tried_again_with_what_it_had(runtime: Runtime) -> None:
    seen = await runtime.run(f"{HOME}.JoinFails", key=key())

    assert seen.result == [0, 1, 2]


async def test_a_handler_comes_when_no_try_is_left(runtime: Runtime) -> None:
    seen = await runtime.run(f"{HOME}.CaughtAtLast", key=key())

    assert seen.result == ["work", 3, "try 3"]


async def test_a_policy_is_any_object_that_decides(runtime: Runtime) -> None:
    seen = await runtime.run(f"{HOME}.OwnPolicy", key=key())

    assert seen.result == 3
