"""Drawing a run: where it went, how often, how long it took, and the branch that failed."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import tenacity
from click.testing import CliRunner
from exporting import exported
from task_world import TOPICS, Clock, World

from fleet import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    catch_error,
    draw_run,
    retry_policy,
    step,
)
from fleet.cli.main import main
from fleet.drawing import picture
from fleet.drawing.about import About
from fleet.drawing.draw import UnknownDrawing
from fleet.drawing.runs import journey as journeys
from fleet.drawing.runs import words
from fleet.drawing.runs.journey import Journey
from fleet.engine import commits
from fleet.records.envelope import Envelope
from fleet.records.events import encoded
from fleet.records.exported.run_export import NotAnExport, RunExport
from fleet.records.exported.workflow_class import UnknownWorkflowClass
from fleet.records.lifecycle import Resumed
from fleet.records.log import Outgoing

HOSTILE = "</script><script>document.title = 1</script>"


class Search(Event):
    source: str


class Finding(Event):
    text: str


class Draft(Event):
    number: int = 0


class Review(Event):
    notes: str = ""


class Published(Event):
    pass


class Withdrawn(Event):
    pass


class ArticleFlow(Workflow, workflow="joke"):
    """It searches in several places, writes, reviews in a loop, and fails to publish."""

    #: Whether its last step works.
    mended = False

    @step
    async def plan(self, ev: StartEvent) -> list[Search]:
        return [Search(source=source) for source in ("wiki", "news", "mail")]

    @step(retry_policy=retry_policy(wait=tenacity.wait_none(), stop=tenacity.stop_after_attempt(2)))
    async def search(self, ctx: Context, ev: Search) -> Finding:
        if ev.source == "news" and not ctx.retry_info().retry_number:
            raise ConnectionError("no news")
        return Finding(text=ev.source)

    @step
    async def write(self, ev: list[Finding]) -> Draft:
        return Draft()

    @step
    async def review(self, ev: Draft) -> Review | Published | Withdrawn:
        return Review() if ev.number < 2 else Published()

    @step
    async def revise(self, ctx: Context, ev: Review) -> Draft:
        number = await ctx.store.get("number", 0) + 1
        await ctx.store.set("number", number)
        return Draft(number=number)

    @step
    async def publish(self, ev: Published) -> StopEvent:
        if not self.mended:
            raise PermissionError(HOSTILE)
        return StopEvent()

    @step
    async def note(self, ev: Published) -> None:
        return None

    @step
    async def withdraw(self, ev: Withdrawn) -> StopEvent:
        return StopEvent()


class Question(InputRequiredEvent):
    text: str = "ok?"


class Approval(HumanResponseEvent):
    ok: bool = True


class Priced(Event):
    price: float


class OrderFlow(Workflow, workflow="joke"):
    """Its price comes from a handler, and a person is asked."""

    @step
    async def price(self, ev: StartEvent) -> Priced:
        raise LookupError("no price")

    @catch_error(for_steps=["price"])
    async def guess(self, ev: StepFailedEvent) -> Priced:
        return Priced(price=7)

    @step
    async def ask(self, ev: Priced) -> Question:
        return Question()

    @step
    async def end(self, ctx: Context, ev: Approval) -> StopEvent:
        await ctx.sleep(3600)
        return StopEvent()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "GATHER_SECONDS", 0)
    monkeypatch.setattr(commits, "LATER_SECONDS", 0)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Where an article could not be published."""
    made = await begun(ArticleFlow())
    await until(made, lambda: any(one.terminal for one in made.happenings("r")))
    yield made
    await closed(made)


async def begun(flow: Workflow) -> World:
    """Return a world in which a run of *flow* has started."""
    made = World(Clock(), flow)
    await made.begin()
    made.clock.ms += 5
    made.start("r")
    return made


async def closed(world: World) -> None:
    """End the tasks of a world."""
    for task in world.made:
        await task.close()


async def until(world: World, is_so: Any) -> None:
    """Let the run go on until *is_so*."""
    async with asyncio.timeout(20):
        while not is_so():
            await world.pump()
            await asyncio.sleep(0.01)
    for _ in range(3):
        await world.pump()


def drawn(world: World) -> Journey:
    """Return the way of the run."""
    return journeys.of(exported(world), picture.of(type(world.flow)))


def names(journey: Journey, nodes: Any) -> set[str]:
    """Return nodes by their names."""
    return {journey.picture.nodes[node].name for node in nodes}


def arrows(journey: Journey, chosen: Any) -> set[tuple[str, str]]:
    """Return arrows by the names of what they join."""
    nodes = journey.picture.nodes
    return {(nodes[source].name, nodes[target].name) for source, target in chosen}


def node(journey: Journey, name: str) -> int:
    """Return a node by its name."""
    return next(at for at, one in enumerate(journey.picture.nodes) if one.name == name)


async def test_what_was_not_reached(world: World) -> None:
    """Steps and events without a part in the run, and the way to its end."""
    journey = drawn(world)
    every = set(range(len(journey.picture.nodes)))
    assert names(journey, every - journey.reached) == {"Withdrawn", "withdraw", "StopEvent", "done"}


async def test_how_often_an_arrow_was_taken(world: World) -> None:
    """A retry counts once; what a join had is counted."""
    journey = drawn(world)
    counts = {next(iter(arrows(journey, [arrow]))): count for arrow, count in journey.taken.items()}
    assert counts["plan", "Search"] == counts["Search", "search"] == 3
    assert counts["Finding", "write"] == 3
    assert counts["Draft", "review"] == 3
    assert counts["revise", "Draft"] == 2
    assert counts["note", "dead end"] == 1
    labels = words.labelled(journey).labels
    by_name = {next(iter(arrows(journey, [at]))): label.words for at, label in labels.items()}
    assert by_name["plan", "Search"] == "list (3)"
    assert by_name["Draft", "review"] == "3 times"


async def test_the_branch_that_failed(world: World) -> None:
    """From the step that failed back to where a join began it; its siblings are not of it."""
    journey = drawn(world)
    assert journey.broken == node(journey, "publish")
    assert arrows(journey, journey.failed_arrows) == {
        ("write", "Draft"),
        ("Draft", "review"),
        ("review", "Review"),
        ("Review", "revise"),
        ("revise", "Draft"),
        ("review", "Published"),
        ("Published", "publish"),
    }
    assert "note" not in names(journey, journey.failed)


async def test_a_run_that_was_resumed_has_no_such_branch(world: World) -> None:
    """It has its result now; both attempts are told."""
    world.flow.mended = True
    world.happen(Resumed(), "r", epoch=1, event_id="request")
    await until(world, lambda: len([one for one in world.happenings("r") if one.terminal]) > 1)
    journey = drawn(world)
    assert (journey.failure, journey.failed, journey.broken) == (None, set(), None)
    assert "done" in names(journey, journey.reached)
    about = words.about(journey, node(journey, "publish"), _nothing())
    assert about.remark.startswith("2 attempts · 1 raised · up to ")


async def test_what_is_said_about_steps(world: World) -> None:
    """Attempts, times, and why."""
    journey = drawn(world)
    search = words.about(journey, node(journey, "search"), _nothing())
    assert search.remark.startswith("4 attempts · 1 raised · up to ")
    assert [fact.name for fact in search.facts if fact.name.startswith("attempt 2")] == [
        "attempt 2 on Search"
    ]
    publish = words.about(journey, node(journey, "publish"), _nothing())
    assert publish.facts[0].words == f"PermissionError: {HOSTILE}"
    withdraw = words.about(journey, node(journey, "withdraw"), _nothing())
    assert (withdraw.facts[0].words, withdraw.remark) == ("did not run", "")
    assert words.summary(journey).startswith("run r · failed after ")
    assert words.summary(journey).endswith("13 attempts")


async def test_the_runs_that_a_step_awaits(world: World) -> None:
    """In the details of its attempt."""
    run = exported(world)
    (plan,) = [one for one in run.attempts() if one.step == "plan"]
    awaiting = plan.model_copy(update={"children": ("other r-2",)})
    record = run.history[0].model_copy(update={"value": awaiting.encode()})
    journey = journeys.of(run.model_copy(update={"history": [record]}), picture.of(ArticleFlow))
    about = words.about(journey, node(journey, "plan"), _nothing())
    assert about.facts[0].words.endswith("awaits other r-2")


async def test_handlers_questions_and_what_is_not_done() -> None:
    """A failure goes to its handler, a question outside, and a step that sleeps is not done."""
    world = await begun(OrderFlow())
    await until(world, lambda: len(world.history()) == 3)
    answer = Envelope("r", "answer", "Approval")
    world.append(Outgoing(TOPICS.event("Approval"), b"r", encoded(Approval()), answer.headers()))
    await until(world, lambda: any(one.outcome == "suspended" for one in world.history()))
    journey = drawn(world)
    await closed(world)
    taken = arrows(journey, journey.taken)
    assert {("price", "guess"), ("ask", "Question"), ("Question", "outside")} <= taken
    assert {("outside", "Approval"), ("Approval", "end")} <= taken
    assert ("price", "Priced") not in taken
    assert names(journey, journey.unfinished) == {"end"}
    assert words.summary(journey) == "run r · running · 4 attempts"
    assert not journey.failed


async def test_the_page(world: World, tmp_path: Path) -> None:
    """What is marked, and what others wrote stays text."""
    path = draw_run(exported(world), tmp_path / "run.html", workflow=ArticleFlow)
    page = path.read_text()
    assert HOSTILE not in page
    assert "PermissionError: &lt;/script&gt;" in page
    assert re.findall(r'class="node \w+ failed"', page) == ['class="node step failed"']
    assert len(re.findall(r'class="node step branch"', page)) == 3
    assert len(re.findall(r'class="node step untaken"', page)) == 1
    assert page.count('<tr class="raised">') == 2


async def test_mermaid(world: World, tmp_path: Path) -> None:
    """The same marks, as styles."""
    path = draw_run(exported(world), tmp_path / "run.mmd", workflow=ArticleFlow)
    text = path.read_text()
    assert len(re.findall(r"^ +class n\d+ failed$", text, re.MULTILINE)) == 1
    assert "classDef untaken" in text
    assert "linkStyle" in text


async def test_its_file_is_named_for_the_run(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the id has in it."""
    monkeypatch.chdir(tmp_path)
    run = exported(world).model_copy(update={"run_id": "a/../b"})
    assert str(draw_run(run, workflow=ArticleFlow)) == "joke-a_.._b.html"


async def test_what_cannot_be_drawn(world: World, tmp_path: Path) -> None:
    """Another ending, a file that is no export, a class that is not there."""
    run = exported(world)
    with pytest.raises(UnknownDrawing):
        draw_run(run, tmp_path / "run.png", workflow=ArticleFlow)
    with pytest.raises(NotAnExport):
        draw_run(tmp_path / "nothing.json")
    with pytest.raises(UnknownWorkflowClass, match="no:Where"):
        draw_run(run.model_copy(update={"workflow_class": "no:Where"}))


async def test_records_that_nobody_can_read_are_passed_over(world: World) -> None:
    """Other clients may write to a topic."""
    run = exported(world)
    broken = run.history[0].model_copy(update={"value": b"?", "headers": []})
    several = {name: [broken, *getattr(run, name)] for name in ("history", "events", "lifecycle")}
    journey = journeys.of(run.model_copy(update=several), picture.of(ArticleFlow))
    assert journey.broken == node(journey, "publish")


async def test_the_command_draws_a_file(world: World, tmp_path: Path) -> None:
    """Without a broker."""
    run, to = tmp_path / "run.json", tmp_path / "run.html"
    run.write_text(exported(world).to_json())
    name = f"{__name__}:ArticleFlow"
    done = CliRunner().invoke(main, ["draw", name, "--run", str(run), "--to", str(to)])
    assert (done.exit_code, done.output.strip()) == (0, str(to))
    assert "PermissionError" in to.read_text()


def _nothing() -> Any:

    return About("step", ())


def test_an_empty_export_is_drawn(tmp_path: Path) -> None:
    """Retention may have removed everything but the run's end."""
    place = {"run_id": "r", "workflow": "joke", "group": "main", "prefix": "fleet"}
    run = RunExport(**place, workflow_class="", outcome="completed")
    assert draw_run(run, tmp_path / "run.html", workflow=ArticleFlow).is_file()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "<1 ms"), (0.25, "250 ms"), (1.234, "1.23 s"), (61, "1 min 1 s"), (7300, "2 h 1 min")],
)
def test_times(seconds: float, said: str) -> None:
    """As people say them."""
    assert words.duration(seconds) == said
