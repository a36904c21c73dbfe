"""Which step an event reaches."""

import asyncio
from typing import Any

import pytest

from behaviour.runtimes import Runtime, outcome


@pytest.mark.parametrize(
    ("flow", "result"),
    [
        ("TakesEither", ["A1", "B2"]),
        ("ExactType", "dog"),
        ("SubclassesToo", ["animal Dog", "dog Dog"]),
        ("SubclassesDeep", ["Puppy", "Bello"]),
        ("UnnamedSubclass", ["Puppy", "Bello"]),
        ("Broadcast", ["first", "second", "third"]),
        ("Loop", 3),
        ("BackToTheStart", 3),
        ("Base", "base 1"),
        ("Heir", "base 2"),
        ("Overriding", "overriding base 1"),
        ("Rewired", "base 8"),
        ("MixedIn", "mixed in 3"),
        ("OwnInit", "hello"),
        ("Free", 1),
        ("PartlyFree", 2),
        ("Targeted", "second"),
    ],
)
async def test_events_reach_the_steps_that_take_them(
    runtime: Runtime, flow: str, result: object
) -> None:
    """By exact type, by subclass if asked for, inherited, free, or named by the sender."""
    seen = await runtime.run(f"scenarios.routing.{flow}")

    assert (seen.result, seen.raised) == (result, "")


@pytest.mark.parametrize(("which", "result"), [("A", 4), ("B", 5)])
async def test_typing_unions_and_optionals_are_unions(
    runtime: Runtime, which: str, result: int
) -> None:
    seen = await runtime.run("scenarios.routing.TypingUnions", which=which)

    assert (seen.result, seen.raised) == (result, "")


@pytest.mark.parametrize(("text", "result"), [(False, ["number", 7]), (True, ["text", "7"])])
async def test_generic_events_are_types_of_their_own(
    runtime: Runtime, text: bool, result: list[object]
) -> None:
    seen = await runtime.run("scenarios.routing.GenericEvents", text=text)

    assert (seen.result, seen.raised) == (result, "")


async def test_postponed_annotations_are_read(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.postponed.Postponed")

    assert (seen.result, seen.raised) == ("later 1", "")


async def test_none_ends_a_branch_and_not_the_run(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.routing.NoneEndsABranch")

    assert (seen.result, seen.notes) == (2, ["A0", "A1", "A2"])


async def test_events_of_a_type_are_taken_in_the_order_they_were_sent(runtime: Runtime) -> None:
    """One at a time: the ones that wait queue up."""
    seen = await runtime.run("scenarios.routing.InOrderSent")

    assert (seen.result, seen.notes) == ("done", list("01234567"))


async def test_a_loop_runs_its_steps_again(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.routing.Loop")

    assert seen.notes == ["round 0", "round 1", "round 2", "round 3"]


async def test_a_wrong_target_is_an_error_at_the_sender(runtime: Runtime) -> None:
    """It names the step, and the sender may go on."""
    went_on = await runtime.run("scenarios.routing.WrongTargets", go_on=True)
    failed = await runtime.run("scenarios.routing.WrongTargets")

    assert (went_on.result, went_on.notes) == (2, ["still here"])
    assert isinstance(failed.error, LookupError)
    for said in ("nowhere", "end"):
        assert said in str(failed.error)


@pytest.mark.parametrize(("flow", "stray"), [("SendsAStray", "Stray"), ("ReturnsAStray", "Kitten")])
async def test_an_event_that_no_step_takes_shows_as_unhandled(
    runtime: Runtime, flow: str, stray: str
) -> None:
    """On the stream of those who ask for internal events; the run goes on."""
    seen = await outcome(runtime.start(f"scenarios.routing.{flow}"), internal=True)

    unhandled = [each for each in seen.stream if type(each).__name__ == "UnhandledEvent"]
    assert [each.event_type for each in unhandled] == [stray]
    assert unhandled[0].qualified_name.endswith(f".{stray}")
    assert (seen.result, seen.raised) == ("ended", "")


async def test_a_callers_event_that_no_step_takes_shows_as_unhandled(runtime: Runtime) -> None:
    handler = runtime.start("scenarios.routing.Listens")
    module = runtime.module("scenarios.routing")
    unhandled = []
    async with asyncio.timeout(30):
        async for event in handler.stream_events(expose_internal=True):
            if type(event).__name__ == "Note":
                await _send(handler, module.Stray(n=3))
            elif type(event).__name__ == "UnhandledEvent":
                unhandled.append(event)
                await _send(handler, module.A(n=9))
        result = await handler

    assert [each.event_type for each in unhandled] == ["Stray"]
    assert result == 9


async def test_a_caller_sends_through_the_handlers_context(runtime: Runtime) -> None:
    handler = runtime.start("scenarios.routing.Listens")
    async with asyncio.timeout(30):
        async for event in handler.stream_events():
            if type(event).__name__ == "Note":
                handler.ctx.send_event(runtime.module("scenarios.routing").A(n=4))
        assert await handler == 4


async def test_what_is_no_event_is_refused_by_name(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.routing.ReturnsText")

    expected = "Step function begin returned str instead of an Event instance"
    assert seen.raised.startswith("WorkflowRuntimeError: ") or runtime.library == "fleet"
    assert expected in str(seen.error)


async def test_free_fields_of_a_start_event_are_read_as_a_dict(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.routing.ReadsItsStart", topic="cats")

    assert seen.result == ["cats", "cats", "cats", 7, True, False, ["topic"]]


async def _send(handler: Any, event: object) -> None:
    """Send as a caller of either library does, and wait until it is on its way."""
    sending = handler.send_event(event)
    if sending is not None:
        await sending
