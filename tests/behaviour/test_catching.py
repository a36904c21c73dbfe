"""Failures that a step handles: which, when, how often, and what the handler gets."""

import pytest

from behaviour.library import FLEET, REFERENCE
from behaviour.runtimes import Runtime

HOME = "scenarios.catching"


async def test_a_handler_gets_what_failed(runtime: Runtime) -> None:
    """The input is typed, the exception of its own type and with its attributes."""
    seen = await runtime.run(f"{HOME}.TellsWhatFailed")

    assert seen.result == {
        "step": "fail",
        "number": 7,
        "error": "no such topic",
        "code": 404,
        "attempts": 1,
        "took": True,
        "zone": "UTC",
    }
    assert seen.types == ["Note", "StopEvent"]


async def test_without_a_failure_no_handler_runs(runtime: Runtime) -> None:
    seen = await runtime.run(f"{HOME}.Plain")

    assert (seen.result, seen.types) == ("fine", ["StopEvent"])


@pytest.mark.parametrize(("way", "result"), [("a", "of_first: first"), ("b", "of_rest: second")])
async def test_the_handler_that_names_the_step_comes_first(
    runtime: Runtime, way: str, result: str
) -> None:
    """The one without names is for the rest."""
    seen = await runtime.run(f"{HOME}.NamedAndWild", way=way)

    assert seen.result == result


@pytest.mark.parametrize(
    ("flow", "raised"),
    [
        ("NotCovered", "LookupError: begin"),
        ("HandlerFails", "ValueError: rescue"),
        ("RaisesAgain", "NoTopic: begin"),
    ],
)
async def test_what_no_handler_takes_fails_the_run(
    runtime: Runtime, flow: str, raised: str
) -> None:
    """Also the failure of a handler, whatever other handlers there are."""
    seen = await runtime.run(f"{HOME}.{flow}")

    assert seen.raised == raised


@pytest.mark.parametrize(
    ("fails", "result", "raised"),
    [(3, "done", ""), (4, None, "LookupError: work 1")],
)
async def test_the_budget_bounds_recoveries_of_one_lineage(
    runtime: Runtime, fails: int, result: object, raised: str
) -> None:
    """The failure after the last recovery is the run's own."""
    seen = await runtime.run(f"{HOME}.GoesBack", fails=fails)

    assert (seen.result, seen.raised) == (result, raised)
    rescued = [note for note in seen.notes if note.startswith("rescue")]
    assert len(rescued) == 3


@pytest.mark.parametrize(
    ("flow", "result"),
    [
        ("BudgetOfEachBranch", [10, 11, 12]),
        ("SomeBranchesFail", [-1, 0, 2, 4]),
        ("HandlerFansOut", [0, 1, 2]),
        ("InnerBranchFails", [1, 111]),
        ("OneHandlerOfTwoLevels", [1, 111, 1000]),
        ("Gathers", [0, 2, 100]),
    ],
)
async def test_what_a_handler_returns_takes_the_place_of_the_step(
    runtime: Runtime, flow: str, result: object
) -> None:
    """In its fan-out, too: a join around gets it and awaits nothing else."""
    seen = await runtime.run(f"{HOME}.{flow}")

    assert (seen.result, seen.raised) == (result, "")


async def test_a_handler_gets_the_events_of_a_join(runtime: Runtime) -> None:
    """All of a list; of several parameters the last."""
    of_list = await runtime.run(f"{HOME}.JoinOfAListFails")
    of_parameters = await runtime.run(f"{HOME}.JoinOfParametersFails")

    assert of_list.result == ["join", "3 events", [0, 1, 2]]
    # On Kafka each type has a topic of its own: either may come last.
    last = ["A", "B"] if runtime.name == "kafka" else ["B"]
    assert of_parameters.result[:2] == ["join", "1 and 2"]
    assert of_parameters.result[2] in last


async def test_a_loop_through_a_join_is_bounded(runtime: Runtime) -> None:
    """A join has the lineage of its fan-out; the reference loses it there and goes on for ever."""
    if runtime.name == REFERENCE:
        pytest.skip("the run ends only when its time is up")
    seen = await runtime.run(f"{HOME}.LoopThroughAJoin")

    assert seen.raised == "LookupError: join"
    assert seen.notes == ["join"] * 3


async def test_a_step_may_return_such_an_event(runtime: Runtime) -> None:
    seen = await runtime.run(f"{HOME}.ReturnsAFailure")

    assert seen.result == ["elsewhere", "A", "by hand"]


async def test_a_failure_may_be_shown(runtime: Runtime) -> None:
    """The caller has the same typed values."""
    seen = await runtime.run(f"{HOME}.ShowsTheFailure")

    assert seen.types == ["StepFailedEvent", "StopEvent"]
    shown = seen.stream[0]
    assert (shown.step_name, shown.input_event.number, str(shown.exception)) == ("fail", 7, "shown")
    if runtime.library == FLEET:
        assert (type(shown.exception).__name__, shown.exception.code) == ("NoTopic", 9)


async def test_a_failed_attempt_leaves_nothing(runtime: Runtime) -> None:
    """Here it neither sends nor sets anything; in the reference it does."""
    seen = await runtime.run(f"{HOME}.FailedAttemptLeavesNothing")

    assert seen.result == ("set" if runtime.name == REFERENCE else "not set")
    if runtime.library == FLEET:
        assert seen.notes == []


async def test_the_end_of_a_runs_time_is_no_failure_of_its_steps(runtime: Runtime) -> None:
    seen = await runtime.run(f"{HOME}.TooSlow")

    assert type(seen.error).__name__ == "WorkflowTimeoutError"
    assert seen.notes == ["begun"]
