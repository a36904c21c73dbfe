"""
What callers do, and what each has to come to: in memory and on Kafka the same.

A case is a coroutine function that takes a flow (in memory, or a connection) and returns what it
has seen, in plain values; beside it stands what that has to be.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple, Protocol
from uuid import UUID, uuid4

from call_flow import Answer, Stray, Token

from fleet import Event, StartEvent, UnhandledEvent, WorkflowHandler


class Flow(Protocol):
    """A workflow in memory, or a connection to its workers."""

    def run(
        self,
        start_event: Event | None = None,
        /,
        *,
        run_id: str | UUID | None = None,
        **fields: Any,
    ) -> WorkflowHandler[Any]:
        """Start a run."""
        ...


class Case(NamedTuple):
    """One case."""

    act: Callable[[Flow], Awaitable[Any]]
    expected: Any

    @property
    def name(self) -> str:
        """What a report calls it."""
        return self.act.__name__


CASES: list[Case] = []


def comes_to(expected: Any) -> Callable[[Callable[[Flow], Awaitable[Any]]], Any]:
    """Add a case."""

    def add(act: Callable[[Flow], Awaitable[Any]]) -> Any:
        CASES.append(Case(act, expected))
        return act

    return add


async def raised(awaited: Awaitable[Any]) -> str:
    """Return the type of what is raised."""
    try:
        await awaited
    except Exception as error:  # noqa: BLE001 - what it is, is what the case is about
        return type(error).__name__
    return "nothing"


def refused(call: Callable[[], Any]) -> str:
    """Return the type of what a call raises at once."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - as above
        return type(error).__name__
    return "nothing"


async def numbers(handler: WorkflowHandler[Any]) -> list[Any]:
    """Return what a stream gives: the numbers of tokens, and the result."""
    return [
        event.number if isinstance(event, Token) else event.get("result")
        async for event in handler.stream_events()
    ]


WHOLE = [0, 1, 2, "done"]


async def unhandled(handler: WorkflowHandler[Any]) -> list[str]:
    """Return what the stream tells of events that no step accepts."""
    return [
        event.qualified_name
        async for event in handler.stream_events(expose_internal=True)
        if isinstance(event, UnhandledEvent)
    ]


async def shown(handler: WorkflowHandler[Any]) -> list[str]:
    """Return the types of what the stream shows to everybody."""
    return [type(event).__name__ async for event in handler.stream_events()]


@comes_to([WHOLE, WHOLE])
async def a_second_stream_sees_all_again(flow: Flow) -> Any:
    handler = flow.run(tokens=3)
    return [await numbers(handler), await numbers(handler)]


@comes_to([WHOLE, WHOLE, WHOLE])
async def streams_beside_one_another_see_all(flow: Flow) -> Any:
    handler = flow.run(tokens=3)
    return await asyncio.gather(*(numbers(handler) for _ in range(3)))


@comes_to(["done", WHOLE])
async def a_stream_that_begins_after_the_end_sees_all(flow: Flow) -> Any:
    handler = flow.run(tokens=3)
    return [await handler, await numbers(handler)]


@comes_to([0, WHOLE])
async def a_stream_after_one_that_was_left_sees_all(flow: Flow) -> Any:
    handler = flow.run(tokens=3)
    async for event in handler.stream_events():
        first = event.get("number")
        break
    return [first, await numbers(handler)]


@comes_to([["WorkflowCancelledEvent"], "WorkflowCancelledByUser", ["WorkflowCancelledEvent"]])
async def streams_of_a_cancelled_run_end(flow: Flow) -> Any:
    handler = flow.run(do="wait")
    await handler.cancel_run()
    return [await shown(handler), await raised(handler), await shown(handler)]


@comes_to(["UnacceptedEvent"] * 4 + ["yes"])
async def an_event_for_a_step_that_does_not_take_it_is_refused_at_once(flow: Flow) -> Any:
    handler = flow.run(do="wait")
    wrong: Any = [(Answer(text="x"), "no_such_step"), (Answer(text="x"), "end")]
    wrong += [("text", None), (Answer, None)]
    seen = [refused(partial(handler.send_event, *each)) for each in wrong]
    await handler.send_event(Answer(text="yes"), step="answer")
    return [*seen, await handler]


@comes_to([["call_flow.Stray"], ["StopEvent"], "yes"])
async def an_event_from_outside_that_no_step_takes_is_shown_as_unhandled(flow: Flow) -> Any:
    handler = flow.run(do="wait")
    await handler.send_event(Stray())
    async for _ in handler.stream_events(expose_internal=True):
        break
    await handler.send_event(Answer(text="yes"))
    return [await unhandled(handler), await shown(handler), await handler]


@comes_to([["call_flow.Stray"], ["StopEvent"], "done"])
async def an_event_of_a_step_that_no_step_takes_is_shown_as_unhandled(flow: Flow) -> Any:
    handler = flow.run(do="stray")
    return [await unhandled(handler), await shown(handler), await handler]


@comes_to("UnroutableEvent")
async def a_step_that_sends_to_no_step_fails(flow: Flow) -> Any:
    return await raised(flow.run(do="stray", to="nobody"))


@comes_to(["RunConflict", "RunConflict", "RunConflict", "mine"])
async def nothing_is_sent_to_the_run_of_another(flow: Flow) -> Any:
    run_id = uuid4().hex
    first = flow.run(do="wait", run_id=run_id)
    other = flow.run(do="wait", other=True, run_id=run_id)
    seen = [await raised(other.send_event(Answer(text="not mine")))]
    seen += [await raised(other.cancel_run()), await raised(other)]
    await first.send_event(Answer(text="mine"))
    return [*seen, await first]


@comes_to(["yes", "yes"])
async def a_run_that_is_known_takes_events_from_each_of_its_callers(flow: Flow) -> Any:
    run_id = uuid4().hex
    first = flow.run(do="wait", run_id=run_id)
    again = flow.run(do="wait", run_id=run_id)
    await again.send_event(Answer(text="yes"))
    return [await first, await again]


@comes_to(["done", "RunEnded", "nothing", "done"])
async def what_has_ended_takes_nothing_any_more(flow: Flow) -> Any:
    handler = flow.run()
    result = await handler
    sent = await raised(handler.send_event(Answer(text="late")))
    return [result, sent, await raised(handler.cancel_run()), await handler]


@comes_to([True, "done", "done"])
async def a_uuid_is_an_id(flow: Flow) -> Any:
    run_id = uuid4()
    one, other = flow.run(run_id=run_id), flow.run(run_id=str(run_id))
    return [one.run_id == other.run_id == str(run_id), await one, await other]


@comes_to("{'do': 'echo', 'run_id': 'mine', 'timeout': 7}")
async def start_fields_may_be_called_as_arguments_of_run(flow: Flow) -> Any:
    return await flow.run(StartEvent(do="echo", run_id="mine", timeout=7), run_id=uuid4())


@comes_to("{'do': 'echo', 'topic': 'cats'}")
async def a_start_event_may_be_given_by_name(flow: Flow) -> Any:
    return await flow.run(start_event=StartEvent(do="echo", topic="cats"))


@comes_to(["NestedStartEvent", "NoStartEvent", "NoStartEvent", "NoStartEvent"])
async def what_is_no_start_event_is_refused_at_once(flow: Flow) -> Any:
    wrong: Any = [{"do": "echo"}, StartEvent, "cats"]
    return [
        refused(lambda: flow.run(event=StartEvent())),
        *(refused(partial(flow.run, each)) for each in wrong),
    ]


@comes_to(["OtherReturned", "OtherReturned"])
async def what_a_step_returns_is_what_it_says(flow: Flow) -> Any:
    return [await raised(flow.run(do=each)) for each in ("skip", "nothing")]


@comes_to(["done", "done"])
async def an_id_may_have_any_characters(flow: Flow) -> Any:
    return [await flow.run(run_id=f"{uuid4()}{each}") for each in ("\n\x1b[2J\r", "\u202e\u2028")]
