"""What people write by mistake, and what they hear: at once, with what to write instead."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from fleet import (
    Context,
    Event,
    FleetError,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowHandler,
    connect,
    serve,
    step,
)


class Asked(Event):
    text: str


class Begin(StartEvent):
    run_id: str
    topic: str = ""


class JokeFlow(Workflow):
    """Waits for an event from outside."""

    @step
    async def begin(self, ev: StartEvent) -> Asked | None:
        return None

    @step
    async def tell(self, ev: Asked) -> StopEvent:
        return StopEvent(result=ev.text)


class OwnFlow(Workflow):
    """Declares its start."""

    @step
    async def begin(self, ev: Begin) -> StopEvent:
        return StopEvent(result=[ev.run_id, ev.topic])


class Forgetful(Workflow):
    """Does not call what it inherits."""

    def __init__(self) -> None:
        self.subject = "cats"

    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=self.subject)


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that makes a plain function of an async one."""

    @functools.wraps(function)
    def wrapper(*given: Any) -> Any:
        return function(*given)

    return wrapper


def flow(**options: Any) -> Any:
    return JokeFlow(**options)


def run(*given: Any, **fields: Any) -> Any:
    return JokeFlow(timeout=5).run(*given, **fields)


def a_class(**options: Any) -> Any:
    return type("Cats", (Workflow,), {}, **options)


def generator() -> None:
    @step
    async def many(self: Any, ev: StartEvent) -> AsyncIterator[StopEvent]:
        yield StopEvent()


async def free(ev: StartEvent) -> StopEvent:
    raise NotImplementedError


def static() -> None:
    async def only(ev: StartEvent) -> StopEvent:
        return StopEvent()

    step(staticmethod(only))


def wrapped() -> None:
    @step
    @plain
    async def only(self: Any, ev: StartEvent) -> StopEvent:
        return StopEvent()


def a_generators_annotation() -> None:
    class Flow(Workflow):
        @step
        async def many(self, ev: StartEvent) -> AsyncIterator[StopEvent]:
            raise NotImplementedError

    Flow()


#: Mistakes that are heard where they are made.
MISTAKES: list[tuple[str, Callable[[], object], str]] = [
    (
        "skip_graph_checks",
        lambda: flow(skip_graph_checks={"x"}),
        r"\(skip_graph_checks=...\) knows no check 'x'",
    ),
    ("workflow_name", lambda: flow(workflow_name="x"), r"`class JokeFlow\(Workflow, workflow="),
    ("resource_manager", lambda: flow(resource_manager=1), "give values to the workflow itself"),
    ("runtime", lambda: flow(runtime=1), r"`serve\(...\)` makes a worker"),
    ("serializer", lambda: flow(serializer=1), "events travel as JSON"),
    ("typo", lambda: flow(timout=5), r"did you mean timeout\? \(its arguments: timeout, disable_"),
    ("by place", lambda: JokeFlow(60, False, False, 1), r"by name: write JokeFlow\(timeout=...\)"),  # type: ignore[call-arg]
    ("class keyword", lambda: a_class(name="x"), "class Cats takes no argument 'name'"),
    (
        "no super().__init__",
        lambda: Forgetful().run(),
        r"write `super\(\).__init__\(timeout=...\)`",
    ),
    ("a dict", lambda: run({"topic": "x"}), r"starts with StartEvent, not with a dict; write run"),
    ("a class", lambda: run(StartEvent), r"a class; write run\(StartEvent\(...\)\)"),
    ("text", lambda: run("cats"), r"not with str; write run\(StartEvent\(...\)\), or give its"),
    ("another event", lambda: run(Asked(text="x")), "not with Asked; see the first step's"),
    ("nested", lambda: run(ev=StartEvent()), r"one start event into another; write run\(StartEv"),
    ("both", lambda: run(StartEvent(), topic="x"), "takes a start event or its fields, not both"),
    ("ctx", lambda: run(ctx=Context.__new__(Context)), "each run has a context of its own"),
    ("Context(Flow())", lambda: Context(JokeFlow()), "begins with into its start event"),  # type: ignore[call-arg, arg-type]
    ("field run_id", lambda: OwnFlow().run(run_id="x"), r"write run\(Begin\(run_id=...\)\), and"),
    ("missing run_id", lambda: OwnFlow().run(topic="x"), r"takes run_id for itself: write Begin"),
    ("wrong field", lambda: OwnFlow().run(Begin(run_id="x"), tpoic="x"), "not both; put tpoic"),
    ("unknown field", lambda: OwnFlow().run(tpoic="x"), "takes no tpoic; Begin has the fields"),
    ("run id 7", lambda: run(run_id=7), r"a run id is text, not int; use run_id=str\(...\)"),
    ("timeout '5'", lambda: run(timeout="5"), "timeout is a number of seconds greater than 0"),
    ("generator", generator, r"step many has a `yield`; return a list of events, .* or send them"),
    ("static", static, "step .* is a staticmethod; write it as a method"),
    ("wrapped", wrapped, "step only is wrapped by a decorator that makes a plain function of it"),
    ("partial", lambda: step(functools.partial(free)), "is a partial, which has no name and no a"),
    ("an object", lambda: step(object()), r"must be a function: `def`, or `async def`"),  # type: ignore[call-overload]
    (
        "-> AsyncIterator",
        a_generators_annotation,
        "step many returns one event or a list, not a gen",
    ),
    ("@step(workflow=object)", lambda: step(workflow=JokeFlow()), "workflow class, not JokeFlow"),  # type: ignore[call-overload]
    ("@step(workflow=Event)", lambda: step(workflow=Event), r"a workflow class, not Event; write"),
    ("a function", lambda: step(free), r"free is a function outside of a class.*@step\(workflow=J"),
    ("add_step", lambda: JokeFlow.add_step(free), "free is missing the `@step` decorator; write"),
    ("connect(Flow())", lambda: connect(JokeFlow()), r"not an instance of it: write connect\(Jok"),  # type: ignore[arg-type]
    ("connect('joke')", lambda: connect("joke"), r"a workflow class, not str: write e.g. connect"),  # type: ignore[arg-type]
    ("serve(Event)", lambda: serve(Event), r"serve takes a workflow class, not Event: write e.g."),  # type: ignore[arg-type]
    ("not connected", lambda: connect(JokeFlow).run(), r"write `async with connect\(JokeFlow\) as"),
]


@pytest.mark.parametrize(
    ("make", "told"), [each[1:] for each in MISTAKES], ids=[each[0] for each in MISTAKES]
)
async def test_a_mistake_is_heard_where_it_is_made(make: Callable[[], object], told: str) -> None:
    """With a sentence that says what to write instead."""
    with pytest.raises(FleetError, match=told):
        make()


def test_a_run_without_a_loop_names_both_ways() -> None:
    """It stays a RuntimeError, as Python's own."""
    with pytest.raises(RuntimeError, match=r"no running event loop: .*run_sync\(...\); in async"):
        JokeFlow().run()


#: Mistakes with a handler, by what is called on it.
AT_A_HANDLER: list[tuple[str, Callable[[WorkflowHandler[Any]], Any], type[Exception], str]] = [
    ("no such step", lambda h: h.send_event(Asked(text=""), step="tel"), FleetError, "begin, tell"),
    (
        "another step",
        lambda h: h.send_event(Asked(text=""), step="begin"),
        FleetError,
        "step begin does not accept Asked, so it was not sent; begin acc.* and Asked is for tell",
    ),
    ("no event", lambda h: h.send_event("x"), FleetError, "takes an event, not str.*subclass of E"),  # type: ignore[arg-type]
    ("a class", lambda h: h.send_event(Asked), FleetError, r"not Asked, so .*; write Asked\(...\)"),  # type: ignore[arg-type]
    ("stp=", lambda h: h.send_event(Asked(text=""), stp="x"), FleetError, "did you mean step?"),  # type: ignore[call-arg]
    ("result()", lambda h: h.result(), asyncio.InvalidStateError, "goes on, .*`await handler`"),
    ("exception()", lambda h: h.exception(), asyncio.InvalidStateError, r"no exception\(\) yet"),
    ("sedn", lambda h: h.sedn_event(), AttributeError, "has no attribute 'sedn_event'$"),  # type: ignore[attr-defined]
    ("run(ctx=)", lambda h: run(ctx=h.ctx), FleetError, "each run has a context of its own"),
    (
        "ctx.edit",
        lambda h: h.ctx.store.edit_state(),
        FleetError,
        r"is for steps.*send_event\(event",
    ),
]


@pytest.mark.parametrize(
    ("act", "kind", "told"),
    [each[1:] for each in AT_A_HANDLER],
    ids=[each[0] for each in AT_A_HANDLER],
)
async def test_a_mistake_with_a_handler_is_heard_at_once(
    act: Callable[[WorkflowHandler[Any]], Any], kind: type[Exception], told: str
) -> None:
    """Where it is made, and the run goes on."""
    handler = JokeFlow(timeout=5).run()
    with pytest.raises(kind, match=told):
        act(handler)
    await handler.send_event(Asked(text="yes"))
    assert await handler == "yes"


class Returns(Workflow):
    """Its first step returns what it is told."""

    @step
    async def begin(self, ev: StartEvent) -> Asked:
        found: Any = {"stop": StopEvent(), "none": None, "text": "x", "class": Asked}
        result: Asked = found[ev.get("what")]
        return result

    @step
    async def tell(self, ev: Asked) -> StopEvent:
        return StopEvent()


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("stop", "step begin returned StopEvent, and its annotation says Asked; return what it "),
        ("none", r"step begin returned None, and .*, or annotate it `-> Asked \| None`"),
        ("text", "Step function begin returned str instead of an Event instance"),
        ("class", "Step function begin returned the class Asked instead of an Event instance"),
    ],
)
async def test_what_a_step_returns_by_mistake_ends_its_run(what: str, told: str) -> None:
    """With the step, what it returned and what it says."""
    with pytest.raises(FleetError, match=told):
        await Returns(timeout=5).run(what=what)
