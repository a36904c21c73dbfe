"""How runs end, and what their streams show."""

from uuid import uuid4

import pytest

from behaviour import gates
from behaviour.library import REFERENCE
from behaviour.runtimes import Runtime, outcome


@pytest.mark.parametrize("answer", [None, 0, "", "text", 1.5, [1, {"a": [True]}]])
async def test_a_result_is_what_a_plain_stop_event_holds(runtime: Runtime, answer: object) -> None:
    seen = await runtime.run("scenarios.ends.PlainResult", answer=answer)

    assert (seen.result, seen.raised) == (answer, "")


async def test_a_stop_event_of_ones_own_comes_back_whole(runtime: Runtime) -> None:
    """And the start event is made of the fields that the run is given."""
    seen = await runtime.run("scenarios.ends.TypedEnds", topic="cats")

    assert type(seen.result).__name__ == "Verdict"
    assert (seen.result.score, seen.result.reasons) == (4, ["length"])
    assert seen.types == ["Note", "Verdict"]


async def test_a_workflow_may_have_two_kinds_of_result(runtime: Runtime) -> None:
    """The reference refuses two in one workflow."""
    if runtime.name == REFERENCE:
        with pytest.raises(runtime.name_of("WorkflowConfigurationError"), match="Only one type"):
            runtime.flow("scenarios.ends.TwoResults")
        return
    judged = await runtime.run("scenarios.ends.TwoResults", judge=True)
    plain = await runtime.run("scenarios.ends.TwoResults")

    assert (judged.result.score, plain.result) == (1, "not judged")


async def test_a_start_event_may_be_given_whole(runtime: Runtime) -> None:
    topic = runtime.module("scenarios.ends").Topic(topic="dogs and cats")
    seen = await runtime.run("scenarios.ends.TypedEnds", start_event=topic)

    assert seen.result.score == 13


async def test_free_fields_of_a_stop_event_are_on_the_stream(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.ends.FreeResult")

    assert seen.result == 1
    assert (seen.stream[-1].result, seen.stream[-1].cost) == (1, 0.5)


async def test_a_sent_stop_event_ends_the_run(runtime: Runtime) -> None:
    """In the reference it reaches no step, and the run goes on until its time is up."""
    if runtime.name == REFERENCE:
        pytest.skip("a sent StopEvent is dropped there")
    seen = await runtime.run("scenarios.ends.SentResult")

    assert (seen.result, seen.types) == ("sent", ["StopEvent"])


async def test_the_result_cancels_siblings_and_closes_the_stream(runtime: Runtime) -> None:
    """Nothing that a cancelled step writes comes after the result."""
    key = uuid4().hex
    seen = await runtime.run("scenarios.ends.Siblings", key=key)

    await gates.at_gate(f"{key}cancelled")
    assert seen.result == "fast"
    assert seen.types[-1] == "StopEvent"
    # The reference still shows what the step writes while it is cancelled.
    late = ["too late"] if runtime.name == REFERENCE else []
    assert seen.notes == ["begun", *late]


async def test_the_first_result_counts(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.ends.FirstResultWins", key=uuid4().hex)

    assert (seen.result, seen.types) == ("first", ["StopEvent"])


async def test_the_stream_is_what_steps_wrote_and_the_stop_event_last(runtime: Runtime) -> None:
    """Events that travel between steps are not on it."""
    seen = await runtime.run("scenarios.ends.Shows")

    assert seen.types == ["Note"] * 4 + ["StopEvent"]
    assert seen.notes == ["begin 0", "begin 1", "begin 2", "end"]


async def test_a_bare_event_comes_to_the_stream_as_one(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.ends.ShowsABareEvent")

    assert seen.types == ["Event", "StopEvent"]
    assert seen.stream[0].free == "field"


async def test_a_failed_run_raises_the_steps_own_error(runtime: Runtime) -> None:
    """What the step showed before is on the stream, and the failure last."""
    seen = await runtime.run("scenarios.ends.ShowsAndFails")

    assert seen.raised == "LookupError: no such topic"
    assert seen.types == ["Note", "WorkflowFailedEvent"]
    end = seen.stream[-1]
    assert (end.step_name, end.attempts, end.result) == ("begin", 1, None)
    assert end.elapsed_seconds >= 0
    assert f"{type(end.exception).__name__}: {end.exception}" == seen.raised
    exception = {"exception_type": "builtins.LookupError", "exception_message": "no such topic"}
    assert end.model_dump()["exception"] == exception


async def test_a_run_that_takes_too_long_raises(runtime: Runtime) -> None:
    """What the step showed before is on the stream, and that its time is up last."""
    seen = await runtime.run("scenarios.ends.TakesLong")

    assert type(seen.error).__name__ == "WorkflowTimeoutError"
    assert str(seen.error) == "Operation timed out after 0.5 seconds. Currently active steps: begin"
    assert seen.types == ["Note", "WorkflowTimedOutEvent"]
    end = seen.stream[-1]
    assert (end.timeout, end.active_steps, end.result) == (0.5, ["begin"], None)


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
async def test_a_cancelled_run_raises_and_its_stream_says_so(runtime: Runtime) -> None:
    """The handler keeps the last event of a run that was cancelled, and of no other failure."""
    key = uuid4().hex
    handler = runtime.start("scenarios.ends.WaitsToBeCancelled", key=key)
    await gates.at_gate(f"{key}begun")
    await handler.cancel_run()
    seen = await outcome(handler)

    assert type(seen.error).__name__ == "WorkflowCancelledByUser"
    assert seen.types == ["WorkflowCancelledEvent"]
    assert (seen.stream[-1].model_dump(exclude={"result"}), seen.stream[-1].result) == ({}, None)
    assert type(handler.get_stop_event()).__name__ == "WorkflowCancelledEvent"
    assert (handler.is_done(), handler.cancelled()) == (True, True)
    with pytest.raises(runtime.name_of("WorkflowCancelledByUser")):
        await handler.stop_event_result()
    assert await handler.cancel_run() is None


async def test_a_run_that_waits_for_a_person_can_be_cancelled(runtime: Runtime) -> None:
    """No step of it runs, and it ends as any other."""
    handler = runtime.start("scenarios.ends.AsksAPerson")
    async for _ in handler.stream_events():
        break
    await handler.cancel_run()
    with pytest.raises(runtime.name_of("WorkflowCancelledByUser")):
        await handler


async def test_a_run_that_waits_in_vain_says_that_no_step_runs(runtime: Runtime) -> None:
    """And, in Fleet, what it waited for."""
    seen = await runtime.run("scenarios.ends.AsksInVain")

    words, _, waiting = str(seen.error).partition(". Waiting: ")
    assert words == "Operation timed out after 0.5 seconds. No steps active"
    assert seen.types == ["InputRequiredEvent", "WorkflowTimedOutEvent"]
    assert (seen.stream[-1].timeout, seen.stream[-1].active_steps) == (0.5, [])
    if runtime.name != REFERENCE:
        assert waiting.startswith("ask: waits for HumanResponseEvent")


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
async def test_a_failed_run_has_no_stop_event(runtime: Runtime) -> None:
    handler = runtime.start("scenarios.ends.ShowsAndFails")
    await outcome(handler)

    assert (handler.get_stop_event(), handler.is_done(), handler.cancelled()) == (None, True, False)
    with pytest.raises(LookupError):
        await handler.stop_event_result()


async def test_the_events_of_ends_are_stop_events(runtime: Runtime) -> None:
    names = ("WorkflowFailedEvent", "WorkflowTimedOutEvent", "WorkflowCancelledEvent")
    stop_event = runtime.name_of("StopEvent")

    assert all(issubclass(runtime.name_of(name), stop_event) for name in names)


async def test_a_stream_may_be_read_again(runtime: Runtime) -> None:
    """The reference gives a stream once; here each reader sees all of it."""
    handler = runtime.start("scenarios.ends.Shows")
    first = await outcome(handler)
    second = await outcome(handler)

    if runtime.name == REFERENCE:
        assert "already been consumed" in str(second.error)
    else:
        assert first.types == second.types
