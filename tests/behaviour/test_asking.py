"""Questions to a person, and steps that take the answers."""

import asyncio
from typing import Any

from behaviour.library import REFERENCE
from behaviour.runtimes import Outcome, Runtime


async def answered(handler: Any, after: str, *answers: Any) -> Outcome:
    """Read a run's stream; give the next of *answers* after each event of the type *after*."""
    seen, left = Outcome(), list(answers)
    async with asyncio.timeout(20):
        async for event in handler.stream_events():
            seen.stream.append(event)
            if type(event).__name__ == after and left:
                await send(handler, left.pop(0))
        seen.result = await handler
    return seen


async def send(handler: Any, event: Any) -> None:
    """Send an event to a run; the reference's context does so at once."""
    sending = handler.ctx.send_event(event)
    if sending is not None:
        await sending


async def test_a_question_is_shown_and_a_step_takes_the_answer(runtime: Runtime) -> None:
    say = runtime.module("scenarios.asking").Say
    handler = runtime.start("scenarios.asking.Asks")
    seen = await answered(handler, "Ask", say(text="me"))

    assert seen.result == "me"
    assert seen.types == ["Ask", "StopEvent"]
    assert seen.stream[0].question == "who?"


async def test_the_classes_themselves_take_any_fields(runtime: Runtime) -> None:
    response = runtime.name_of("HumanResponseEvent")
    handler = runtime.start("scenarios.asking.AsksFreely")
    seen = await answered(handler, "InputRequiredEvent", response(response="me"))

    assert (seen.result, seen.stream[0].prefix) == ("me", "who?")


async def test_a_list_of_questions_is_shown_one_by_one(runtime: Runtime) -> None:
    say = runtime.module("scenarios.asking").Say
    handler = runtime.start("scenarios.asking.AsksSeveral")
    seen = await answered(handler, "Ask", say(text="me"), say(text="now"))

    assert seen.result == ["me", "now"]
    assert [each.question for each in seen.stream[:-1]] == ["who?", "when?"]


async def test_a_question_that_a_step_takes_is_shown_too(runtime: Runtime) -> None:
    seen = await runtime.run("scenarios.asking.AsksAndTakes")

    assert (seen.result, seen.types) == ("looked at who?", ["Ask", "StopEvent"])


async def test_a_question_that_is_sent_is_shown(runtime: Runtime) -> None:
    """The reference shows only questions that are returned."""
    say = runtime.module("scenarios.asking").Say
    handler = runtime.start("scenarios.asking.SendsAQuestion")
    seen = await answered(handler, "Note", say(text="me"))

    shown = [] if runtime.name == REFERENCE else ["Ask"]
    assert seen.result == "me"
    assert sorted(seen.types) == sorted([*shown, "Note", "StopEvent"])


async def test_a_step_asks_again(runtime: Runtime) -> None:
    say = runtime.module("scenarios.asking").Say
    handler = runtime.start("scenarios.asking.TypeOnlyAnswers")
    seen = await answered(handler, "Ask", say(text="no one"), say(text="me"))

    assert seen.result == "me"
    assert [each.question for each in seen.stream[:-1]] == ["who?", "who else?"]
