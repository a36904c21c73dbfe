"""What each caller must have heard, and what each reader of a stream must have seen."""

from collections import Counter

from pydantic_core import from_json

from fleet.records.end_events import (
    WorkflowCancelledEvent,
    WorkflowFailedEvent,
    WorkflowTimedOutEvent,
)
from fleet.records.events import Event, StreamRestarted
from fleet.records.lifecycle import Cancelled, Completed, Failed, Lifecycle, TimedOut
from fleet.workflow.errors import (
    EndGone,
    RunConflict,
    RunUnheard,
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
)
from simulation.caller import Call
from simulation.checks import CLOCK_SECONDS, Checks
from simulation.flow import Advice, Done, Token
from simulation.world import World

_ENDS = (WorkflowCancelledEvent, WorkflowFailedEvent, WorkflowTimedOutEvent)


def check(world: World, checks: Checks, call: Call) -> None:
    """Who called heard an effective end: of each time that the run ended."""
    error = call.handler.exception()
    heard = "an event" if error is None else repr(error)
    ends = checks.every_end(call.run_id)
    # Of a run that begins when all faults are over the end is heard.
    unheard = isinstance(error, RunUnheard) and not call.run_id.startswith("after")
    right = unheard or any(_is_end(call, end) for end in ends)
    if isinstance(error, RunConflict):
        right = call.order.parts != checks.began_with(call.run_id)
    if not right:
        world.violate(f"a caller of {call.run_id} heard {heard}, the log has {ends}")

    if isinstance(error, RunConflict | RunUnheard):
        return
    if call.order.parts != (checks.began_with(call.run_id) or call.order.parts):
        world.violate(f"a caller of {call.run_id} with other fields heard {heard}")


def _is_end(call: Call, end: Lifecycle) -> bool:
    error = call.handler.exception()
    if isinstance(end, Completed):
        result = from_json(end.event)
        if result["unreadable"]:
            return type(error) is WorkflowRuntimeError and "raises KeyError" in str(error)
        return error is None and call.handler.result().by == result["by"]
    match error:
        case WorkflowCancelledByUser() if isinstance(end, Cancelled):
            return True
        case WorkflowTimeoutError() if isinstance(end, TimedOut):
            return True
    # Of a type that the caller has, or in words; a step also fails with the end of what it awaits.
    return isinstance(end, Failed) and str(error).endswith(end.failure.message)


def check_stream(world: World, checks: Checks, call: Call) -> None:
    """Each attempt's events once and in order, and at the end all of those that count."""
    seen: dict[int, list[int]] = {}
    for event in call.shown:
        if isinstance(event, Token):
            seen.setdefault(event.by, []).append(event.number)
    name = f"a reader of {call.run_id}"
    for by, numbers in seen.items():
        if numbers != list(range(len(numbers))):
            world.violate(f"{name} saw {numbers} of attempt {by}")
    _check_newest(world, checks, call)
    _check_restarts(world, checks, call)
    handler = call.read_with or call.handler
    error = handler.exception()
    if error is not None and handler is not call.handler and _is_of_the_caller(error):
        # The reader came back so late that the end, which it may have seen, was gone.
        return
    has_result = error is None
    results = [event for event in call.shown if isinstance(event, Done)]
    if results != ([handler.result()] if has_result else []):
        world.violate(f"{name} saw the results {results}")
    if has_result and call.shown[-1:] != results:
        world.violate(f"{name} saw {call.shown[-1]} after the result")
    _check_last(world, call)
    if has_result:
        _check_complete(world, checks, call, seen)


def _check_last(world: World, call: Call) -> None:
    """A run without a result says last how it ended, as its handler does."""
    handler = call.read_with or call.handler
    error = handler.exception()
    kinds = [type(event) for event in call.shown if type(event) in _ENDS]
    last = type(call.shown[-1]) if call.shown else None
    expected: list[type] = []
    if handler.has_ended and error is not None and not _is_of_the_caller(error):
        match error:
            case WorkflowCancelledByUser():
                expected = [WorkflowCancelledEvent]
            case WorkflowTimeoutError():
                expected = [WorkflowTimedOutEvent]
            case _:
                expected = [WorkflowFailedEvent]
    if handler is not call.handler:
        # It may have seen an end, died there, and come back after a resume.
        kinds = kinds[len(kinds) - len(expected) :]
    if kinds != expected or (expected and last != expected[0]):
        world.violate(f"a reader of {call.run_id}, which ended with {error!r}, saw {kinds} at last")


def _is_of_the_caller(error: BaseException) -> bool:
    """Tell whether the caller has the error and not the run: it gave up, or could not read."""
    is_unreadable = type(error) is WorkflowRuntimeError and "raises KeyError" in str(error)
    return is_unreadable or isinstance(error, EndGone | RunUnheard)


def _check_newest(world: World, checks: Checks, call: Call) -> None:
    """Nothing of an older attempt comes after something of a newer one."""
    newest: dict[str, float] = {}
    for event in call.shown:
        if isinstance(event, Token):
            attempt = checks.attempt(event.by)
            began = newest.setdefault(attempt.key, attempt.began)
            newest[attempt.key] = max(began, attempt.began)
            # Clocks of workers tell apart what is so far apart.
            if attempt.began < began - CLOCK_SECONDS:
                world.violate(f"a reader of {call.run_id} saw the older attempt {event.by}")


def _check_restarts(world: World, checks: Checks, call: Call) -> None:
    """Each attempt that shows something after another of its step is announced, once."""
    current: dict[str, int] = {}
    counts: Counter[str] = Counter()
    announced: list[int] = []
    for event in call.shown:
        if isinstance(event, StreamRestarted):
            announced.append(event.void_events)
        elif by := _shown_by(event):
            key = checks.attempt(by).key
            expected = []
            if current.get(key, by) != by:
                expected = [counts.pop(key)] if call.habits.exposes else []
                counts[key] = 0
            current[key] = by
            counts[key] += 1
            if announced != expected:
                world.violate(
                    f"a reader of {call.run_id} was told that {announced} events are void before "
                    f"attempt {by}, and {expected} are"
                )
            announced = []


def _shown_by(event: Event) -> int:
    """Return the number of the attempt that shows *event*; 0 if it is none of a step."""
    if isinstance(event, Token):
        return event.by
    return int(event.text) if isinstance(event, Advice) and event.text.isdecimal() else 0


def _check_complete(world: World, checks: Checks, call: Call, seen: dict[int, list[int]]) -> None:
    for by in checks.shown.get(call.run_id, ()):
        numbers = seen.get(by, [])
        if len(numbers) != checks.tokens and not checks.is_shown_over(by):
            world.violate(f"a reader of {call.run_id} saw {numbers} of attempt {by}, which counts")
