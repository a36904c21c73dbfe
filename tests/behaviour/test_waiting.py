"""Steps that wait for events."""

from typing import Any
from uuid import uuid4

import pytest

from behaviour import gates
from behaviour.library import REFERENCE
from behaviour.runtimes import Runtime
from behaviour.test_asking import answered, send


async def conversation(runtime: Runtime, flow: str, *answers: dict[str, Any], **fields: Any) -> Any:
    """Run a workflow that asks; give the next of *answers* after each question."""
    say = runtime.module("scenarios.waiting").Say
    handler = runtime.start(f"scenarios.waiting.{flow}", **fields)
    return await answered(handler, "Ask", *(say(**each) for each in answers))


def questions(seen: Any) -> list[str]:
    return [each.question for each in seen.stream if type(each).__name__ == "Ask"]


@pytest.mark.parametrize(
    ("flow", "by", "result", "asked"),
    [
        ("WaitsTwice", ["Ann", "Bob"], ["to Ann", "to Bob", "to Ann"], ["1", "2"]),
        ("WaitsForTheSame", ["Ann", "Bob"], ["to Ann", "to Ann", "to Bob"], ["1", "3"]),
        ("TakesItself", ["Ann"], "to Ann", ["who?"]),
        ("OthersTake", ["Ann"], ["took to Ann", "waited to Ann"], ["who?"]),
        ("AnsweredByAStep", ["Ann"], "sent to Ann", ["who?"]),
        ("Patient", ["Ann"], "to Ann", ["who?"]),
    ],
)
async def test_a_wait_ends_with_an_event_that_matches(
    runtime: Runtime, flow: str, by: list[str], result: object, asked: list[str]
) -> None:
    """Each wait is asked for once, and its event goes to the other steps that take it."""
    seen = await conversation(runtime, flow, *({"text": f"to {name}", "by": name} for name in by))

    assert seen.result == result
    assert questions(seen) == asked


async def test_a_wait_keeps_its_answer(runtime: Runtime) -> None:
    """In the reference, a later event that fits takes its place."""
    seen = await conversation(runtime, "TwoAnswersFit", {"text": "a"}, {"text": "b"})

    assert seen.result == (["b", "b"] if runtime.name == REFERENCE else ["a", "b"])


async def test_a_step_runs_again_from_its_top(runtime: Runtime) -> None:
    """What it showed before it waited is shown again; the question is not."""
    seen = await conversation(runtime, "WaitsForOne", {"text": "me", "by": "Ann"})

    assert (seen.result, seen.types) == ("me", ["Note", "Ask", "Note", "StopEvent"])
    again = await conversation(runtime, "SendsAndWaits", {"text": "me"}, key=uuid4().hex)
    assert again.result == [2, "me"]


async def test_an_answer_has_the_awaited_type_and_the_required_values(runtime: Runtime) -> None:
    """Another one changes nothing; the stream says that no step takes it."""
    module = runtime.module("scenarios.waiting")
    handler = runtime.start("scenarios.waiting.WaitsForOne")
    unhandled = []
    async for event in handler.stream_events(expose_internal=True):
        if type(event).__name__ == "Ask":
            await send(handler, module.Say(text="not me", by="Bob"))
            await send(handler, runtime.name_of("HumanResponseEvent")(text="no one", by="Ann"))
            await send(handler, module.Say(text="me", by="Ann"))
        elif type(event).__name__ == "UnhandledEvent":
            unhandled.append(event.event_type)

    assert (await handler, unhandled) == ("me", ["Say", "HumanResponseEvent"])


async def test_fields_that_none_declares_may_be_required(runtime: Runtime) -> None:
    response = runtime.name_of("HumanResponseEvent")
    handler = runtime.start("scenarios.waiting.WaitsFreely")
    async for event in handler.stream_events():
        if type(event).__name__ == "InputRequiredEvent":
            assert event.prefix == "who?"
            await send(handler, response(response="no", user="Bob"))
            await send(handler, response(response="no", user="Ann", retracted=True))
            await send(handler, response(response="yes", user="Ann"))

    assert await handler == "yes"


async def test_an_answer_is_for_all_that_wait_for_it(runtime: Runtime) -> None:
    """For two steps, and for the branches of one."""
    say = runtime.module("scenarios.waiting").Say
    for flow, count, result in (
        ("TwoWait", 2, ["first a", "second a"]),
        ("OneForAll", 3, ["1 a", "2 a", "3 a"]),
    ):
        handler, asked = runtime.start(f"scenarios.waiting.{flow}"), 0
        async for event in handler.stream_events():
            asked += type(event).__name__ == "Ask"
            if asked == count:
                asked = 0
                await send(handler, say(text="a"))

        assert await handler == result


async def test_branches_of_a_fan_out_wait_side_by_side(runtime: Runtime) -> None:
    """With one worker: a step that waits holds no place. They are answered in another order."""
    say = runtime.module("scenarios.waiting").Say
    handler, asked = runtime.start("scenarios.waiting.WaitsInAList"), list[str]()
    async for event in handler.stream_events():
        if type(event).__name__ == "Ask":
            asked.append(event.question)
            if len(asked) == 3:
                for number in ("3", "1", "2"):
                    await send(handler, say(text=f"to {number}", by=number))

    assert (await handler, sorted(asked)) == (["to 1", "to 2", "to 3"], ["1", "2", "3"])


async def test_a_wait_has_an_end(runtime: Runtime) -> None:
    """The step gets a TimeoutError, which fails it like any other."""
    late = await runtime.run("scenarios.waiting.Late")
    fails = await runtime.run("scenarios.waiting.LateAndFails")

    assert (late.result, late.types) == ("no one", ["Ask", "StopEvent"])
    assert type(fails.error) is TimeoutError


async def test_a_step_may_fail_with_its_answer(runtime: Runtime) -> None:
    say = runtime.module("scenarios.waiting").Say
    handler = runtime.start("scenarios.waiting.FailsAfterwards")
    async for event in handler.stream_events():
        if type(event).__name__ == "Ask":
            await send(handler, say(text="none of that name"))

    with pytest.raises(LookupError, match="none of that name"):
        await handler


async def test_subclasses_match_a_step_that_takes_them(runtime: Runtime) -> None:
    say = runtime.module("scenarios.waiting").Say
    handler = runtime.start("scenarios.waiting.Subclasses")
    async for event in handler.stream_events():
        if type(event).__name__ == "Ask":
            await send(handler, say(text="not me", by="Bob"))
            await send(handler, say(text="me", by="Ann"))

    assert await handler == ["Say", "me"]


async def test_an_answer_may_come_before_its_wait(runtime: Runtime) -> None:
    """The reference drops it."""
    say, key = runtime.module("scenarios.waiting").Say, uuid4().hex
    handler = runtime.start("scenarios.waiting.ComesEarly", key=key)
    async for event in handler.stream_events():
        if type(event).__name__ == "Note":
            await send(handler, say(text="early"))
            if runtime.name == REFERENCE:
                gates.open_gate_after_me(f"{key}answered")
            else:
                gates.open_gate(f"{key}answered")
        elif type(event).__name__ == "Ask" and runtime.name == REFERENCE:
            await send(handler, say(text="late"))

    assert await handler == ("late" if runtime.name == REFERENCE else "early")


async def test_a_step_waits_for_events_alone(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.waiting.WaitsForNoEvent")

    assert "Event" in str(seen.error)
