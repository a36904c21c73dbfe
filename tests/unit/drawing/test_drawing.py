"""Drawing a workflow: the file, the page, the Mermaid text and where everything stands."""

# Most steps are drawn and never run.
# mypy: disable-error-code="empty-body"

import random
import re
from functools import reduce
from html.parser import HTMLParser
from itertools import pairwise
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from click.testing import CliRunner
from pydantic import Field

import fleet
from fleet import (
    Collect,
    Event,
    FleetError,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Take,
    Workflow,
    catch_error,
    draw_workflow,
    step,
)
from fleet.cli.main import main
from fleet.drawing import layers as drawing_layers
from fleet.drawing import mermaid, routes
from fleet.drawing import page as drawing_page
from fleet.drawing import picture as drawing_picture
from fleet.drawing.about import shown_type
from fleet.drawing.columns import columns
from fleet.drawing.places import Size, place
from fleet.joke import JokeFlow
from fleet.records.exported.run_export import RunExport

HOSTILE = "<img src=x onerror=alert(1)>\"'&</script><script>alert(2)</script>"


class Question(StartEvent):
    """What somebody asks."""

    text: str
    language: Literal["en", "de"] = "en"


class Draft(Event):
    """An answer that may be wrong."""

    text: str = Field(description="in Markdown")
    scores: dict[str, float | None] = Field(default_factory=dict)


class Revise(Event):
    notes: list[str]


class Audit(Event):
    text: str


class Answer(StopEvent):
    text: str


class ReviewFlow(Workflow, group="writers"):
    """Writes until the review is content."""

    @step(num_workers=8, timeout=30)
    async def write(self, ev: Question | Revise) -> Draft | Audit:
        """Write a draft."""
        return Draft(text="")

    @step
    async def review(self, ev: Draft) -> Revise | Answer | None:
        return None

    @step
    async def record(self, ev: Audit) -> None:
        return None


class Chunk(Event):
    text: str


class Found(Event):
    text: str


class Sure(Found):
    """Only a subclass of what `first` takes is ever sent."""


class Facts(Event):
    pass


class FanFlow(Workflow):
    @step
    async def split(self, ev: Question) -> list[Chunk] | None: ...
    @step
    async def look(self, ev: Chunk) -> Draft | Sure: ...
    @step
    async def close(self, parts: list[Draft]) -> Audit: ...
    @step(accept_event_subclasses=True)
    async def first(self, found: Annotated[list[Found], Collect(Take(2))]) -> Facts: ...
    @step
    async def write(self, audit: Audit, facts: Facts) -> Answer: ...


class _Page(HTMLParser):
    """Nodes with their attributes, arrows, and each node's section as text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.nodes: dict[str, dict[str, str | None]] = {}
        self.arrows: list[tuple[str, str, str]] = []
        #: What is written on each arrow.
        self.labels: list[str] = []
        self._in_arrow = False
        self.sections: dict[str, str] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._section = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        classes = (found.get("class") or "").split()
        if "node" in classes:
            self.nodes[str(found["id"])] = found
        if "arrow" in classes:
            source, target = str(found["data-from"]), str(found["data-to"])
            self.arrows.append((source, target, classes[-1]))
            self.labels.append("")
        self._in_arrow = (self._in_arrow and tag != "g") or "arrow" in classes
        if tag == "section":
            self._section = str(found["id"])
            self.sections[self._section] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        if self._section:
            self.sections[self._section] += f" {data}"
        if self._in_arrow:
            self.labels[-1] += data

    def named(self, spoken: str) -> str:
        """Return the id of the node whose accessible name begins with *spoken*."""
        return next(i for i, at in self.nodes.items() if str(at["aria-label"]).startswith(spoken))

    def about(self, spoken: str) -> str:
        return " ".join(self.sections[f"about-{self.named(spoken)}"].split())


def page(workflow: type[Workflow]) -> _Page:
    return _Page(drawing_page.html(drawing_picture.of(workflow)))


def generated(steps: int, seed: int) -> type[Workflow]:
    """Return a workflow of so many steps that fork, join, loop and stop."""
    rng = random.Random(seed)
    events = [type(f"Event{at}", (Event,), {}) for at in range(steps)]
    takes: list[list[Any]] = [[StartEvent], *([events[at - 1]] for at in range(1, steps))]
    gives: list[list[Any]] = [*([event] for event in events[:-1]), [StopEvent]]
    for at in range(steps - 1):
        takes[rng.randrange(steps)].append(events[at])
        gives[at].append(rng.choice([*events[:-1], StopEvent]))
    members = {}
    for at in range(steps):

        async def run(self: Any, ev: Any) -> Any:
            return None

        run.__annotations__ = {"ev": reduce(or_, takes[at]), "return": reduce(or_, gives[at])}
        members[f"step_number_{at}"] = step(run)
    return type("GeneratedFlow", (Workflow,), members)


def test_a_workflow_is_drawn_into_the_named_file(tmp_path: Path) -> None:
    """The path comes back, of a class and of an instance."""
    assert draw_workflow(JokeFlow, tmp_path / "a.html") == tmp_path / "a.html"
    assert draw_workflow(JokeFlow(), str(tmp_path / "b.html")) == tmp_path / "b.html"
    assert draw_workflow(JokeFlow, filename=tmp_path / "c.html") == tmp_path / "c.html"
    written = {(tmp_path / f"{name}.html").read_bytes() for name in "abc"}
    assert len(written) == 1
    assert b"generate_joke" in written.pop()


def test_the_file_is_named_after_the_workflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the current directory, as a page; `fleet` has the name."""
    monkeypatch.chdir(tmp_path)
    assert fleet.draw_workflow(JokeFlow) == Path("joke.html")
    assert (tmp_path / "joke.html").exists()


class HandledFlow(Workflow):
    @step
    async def look(self, ev: Question) -> Draft: ...

    @step
    async def tell(self, ev: Draft) -> Answer: ...

    @catch_error(for_steps=["look"], max_recoveries=3)
    async def look_again(self, ev: StepFailedEvent) -> Draft: ...

    @catch_error
    async def give_up(self, ev: StepFailedEvent) -> Answer: ...


def test_failures_are_drawn_to_their_handlers() -> None:
    """Without a node for the event; a handler that follows its step is no loop."""
    drawn = page(HandledFlow)
    failures = {(source, target) for source, target, kind in drawn.arrows if kind == "fails"}
    steps = {
        name: drawn.named(f"step {name}") for name in ("look", "tell", "look_again", "give_up")
    }
    assert failures == {
        (steps["look"], steps["look_again"]),
        (steps["tell"], steps["give_up"]),
    }
    assert "StepFailedEvent" not in {at["aria-label"] for at in drawn.nodes.values()}
    handler = drawn.about("step look_again")
    assert "takes a StepFailedEvent" in handler
    assert "handles failures of look at most 3 in one lineage" in handler
    assert "returns Draft" in handler
    look = drawn.about("step look;")
    assert "its failures go to look_again" in look
    assert "returns Draft" in look
    text = mermaid.mermaid(drawing_picture.of(HandledFlow))
    assert text.count('-.->|"fails"|') == 2


def test_another_ending_is_refused(tmp_path: Path) -> None:
    """With the endings that would do, and nothing is written."""
    with pytest.raises(FleetError, match=r"neither \.html nor \.mmd"):
        draw_workflow(JokeFlow, tmp_path / "joke.png")
    assert not list(tmp_path.iterdir())


def test_what_is_no_workflow_is_refused() -> None:
    """By the name of its type."""
    with pytest.raises(FleetError, match="not str"):
        draw_workflow("joke")  # type: ignore[arg-type]


def test_a_file_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(FleetError, match="No such file or directory"):
        draw_workflow(JokeFlow, tmp_path / "missing" / "joke.html")


def test_the_page_shows_start_events_steps_dead_ends_and_done() -> None:
    """Each once, with its kind as a class and an accessible name that tells its neighbours."""
    spoken = [at["aria-label"] for at in page(ReviewFlow).nodes.values()]
    assert sorted(map(str, spoken)) == [
        "dead end; a branch ends after record",
        "done; a run ends with Answer",
        "event Audit; returned by write; accepted by record",
        "event Draft; returned by write; accepted by review",
        "event Revise; returned by review; accepted by write",
        "result event Answer; returned by review",
        "start event Question; accepted by write",
        "start; a run begins with Question",
        "step record; takes Audit",
        "step review; takes Draft; returns Revise, Answer; may end its branch",
        "step write; takes Question, Revise; returns Draft, Audit; num_workers 8 · timeout 30 s",
    ]


def test_the_page_shows_fan_outs_and_joins() -> None:
    """Each step says how it joins; the arrows of lists and parameters have words."""
    drawn = page(FanFlow)
    spoken = {str(at["aria-label"]) for at in drawn.nodes.values()}
    assert spoken >= {
        "step split; takes Question; returns Chunk; fans out · may end its branch",
        "step look; takes Chunk; returns Draft, Sure",
        "step close; takes Draft; returns Audit; joins all",
        "step first; takes Sure; returns Facts; joins first 2",
        "step write; takes Audit, Facts; returns Answer; joins audit and facts",
        "event Sure; returned by look; accepted by first",
    }
    assert [label for label in drawn.labels if label] == [
        "list",
        "all",
        "first 2",
        "audit",
        "facts",
    ]
    assert sum(kind == "many" for *_, kind in drawn.arrows) == 3
    assert [attributes.get("class") for tag, attributes in drawn.tags].count("bar") == 4
    first = drawn.about("step first")
    assert "as a list; it begins with the first 2 of a fan-out; also subclasses of Found" in first
    assert "one of each, and begins with the last of them" in drawn.about("step write")
    assert "a list of Chunk, each a branch, or None, which ends" in drawn.about("step split")


def test_mermaid_shows_fan_outs_and_joins() -> None:
    """The same words are on the arrows."""
    text = mermaid.mermaid(drawing_picture.of(FanFlow))
    assert sorted(re.findall(r'-->\|"(.+?)"\|', text)) == [
        "all",
        "audit",
        "facts",
        "first 2",
        "list",
    ]


def test_what_comes_from_outside_is_drawn() -> None:
    """A step that skips a check has events without a way from the start, or to the end."""

    class Woken(Workflow, skip_graph_checks={"reachability", "terminal_event"}):
        @step
        async def begin(self, ev: Question) -> Answer | Audit: ...
        @step
        async def wake(self, ev: Revise) -> Answer: ...

    spoken = {str(at["aria-label"]) for at in page(Woken).nodes.values()}
    assert {"event Revise; accepted by wake", "event Audit; returned by begin"} <= spoken


def test_questions_go_outside_and_answers_come_from_there() -> None:
    class Ask(InputRequiredEvent):
        pass

    class Say(HumanResponseEvent):
        pass

    class Asks(Workflow):
        @step
        async def ask(self, ev: Question) -> Ask: ...
        @step
        async def take(self, ev: Say) -> Answer: ...

    drawn = drawing_picture.of(Asks)
    pairs = {
        (drawn.nodes[source].name, drawn.nodes[target].name) for source, target in drawn.arrows
    }
    spoken = {str(at["aria-label"]) for at in page(Asks).nodes.values()}
    assert {("Ask", "outside"), ("outside", "Say")} <= pairs
    assert "outside; is asked with Ask; answers with Say" in spoken


def test_a_result_type_that_no_step_returns_is_not_drawn() -> None:
    """The class may name one; a plain StopEvent ends the run all the same."""

    class Plain(Workflow):
        result_event_type = Answer

        @step
        async def only(self, ev: Question) -> StopEvent: ...

    spoken = [str(at["aria-label"]) for at in page(Plain).nodes.values()]
    assert "done; a run ends with StopEvent" in spoken
    assert not any("Answer" in words for words in spoken)


def test_nodes_come_in_the_order_of_the_flow() -> None:
    """So that Tab goes the way that a run goes."""
    order = [at["aria-label"] for at in page(JokeFlow).nodes.values()]
    assert [str(each).split(";")[0].split()[-1] for each in order] == [
        "start",
        "StartEvent",
        "generate_joke",
        "JokeEvent",
        "critique_joke",
        "StopEvent",
        "done",
    ]


def test_arrows_are_the_annotations_and_loops_are_marked() -> None:
    """Only the one that goes back to an earlier step is a loop."""
    found = page(ReviewFlow)
    loops = [(source, target) for source, target, kind in found.arrows if kind == "loop"]
    assert loops == [(found.named("event Revise"), found.named("step write"))]
    assert len(found.arrows) == 12 - 1


def test_details_tell_fields_options_and_docstrings() -> None:
    """Of an event its fields with types and defaults, of a step its options."""
    found = page(ReviewFlow)
    draft, write = found.about("event Draft"), found.about("step write")
    assert "An answer that may be wrong." in draft
    assert "text in Markdown str required scores dict[str, float | None] dict()" in draft
    assert "Write a draft." in write
    assert "num_workers 8 attempts at a time in each run timeout 30 s for each attempt" in write
    assert "returns Revise Answer or None, which ends its branch" in found.about("step review")
    assert "returns None: its branch ends here, the run goes on" in found.about("step record")
    assert "language Literal['en', 'de'] 'en'" in found.about("start event")
    assert "It takes other fields, too." in found.about("start event")


@pytest.mark.parametrize(
    ("hint", "shown"),
    [
        (list[Draft], "list[Draft]"),
        (Annotated[int, "m"] | None, "int | None"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Any, "Any"),
    ],
)
def test_types_are_shown_as_they_are_written(hint: object, shown: str) -> None:
    """Without modules and metadata."""
    assert shown_type(hint) == shown


def hostile() -> type[Workflow]:
    async def run(self: Any, ev: StartEvent) -> StopEvent:
        return StopEvent()

    # Half a surrogate pair, which no file in UTF-8 can hold.
    run.__doc__ = HOSTILE + "\ud800"
    run.__module__ = __name__
    namespace = {"__doc__": HOSTILE, HOSTILE: step(run)}
    return type(HOSTILE, (Workflow,), namespace, workflow="hostile", group="g")


def test_names_and_docstrings_stay_text(tmp_path: Path) -> None:
    """Whatever stands in them, the page has the tags and the one script of every other page."""
    path = draw_workflow(hostile(), tmp_path / "hostile.html")
    found = _Page(path.read_text("utf-8"))
    tags = [tag for tag, _ in found.tags]
    assert tags.count("script") == 1
    assert "img" not in tags
    assert not [name for _, at in found.tags for name in at if name.startswith("on")]
    assert "<img src=x onerror=alert(1)>" in found.about("step <img")


def test_names_stay_text_in_mermaid(tmp_path: Path) -> None:
    """Letters with a meaning there are written by their number."""
    text = draw_workflow(hostile(), tmp_path / "hostile.mmd").read_text("utf-8")
    [line] = [line for line in text.splitlines() if "onerror" in line]
    assert re.fullmatch(r'n\d+\["[\w .#;-]*"\]', line.strip())


def test_the_page_is_self_contained() -> None:
    """Nothing in it points anywhere but into itself, and its policy forbids what would."""
    found = page(ReviewFlow)
    pointers = [
        str(value)
        for _, at in found.tags
        for name, value in at.items()
        if name in ("src", "href", "action", "data", "srcset", "xlink:href")
    ]
    assert pointers
    assert all(pointer.startswith("#about-n") for pointer in pointers)
    [policy] = [str(at["content"]) for _, at in found.tags if "http-equiv" in at]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_a_page_of_twenty_steps_is_small() -> None:
    """Far under the megabyte."""
    found = drawing_page.html(drawing_picture.of(generated(20, seed=1)))
    assert found.count('class="node step"') == 20
    assert len(found.encode()) < 200_000


def test_mermaid_has_the_same_nodes_and_arrows() -> None:
    """Each kind with a shape of its own."""
    text = mermaid.mermaid(drawing_picture.of(ReviewFlow))
    assert 'n0(("start"))' in text
    assert '(["Draft"])' in text
    assert '["review"]' in text
    assert '{{"dead end"}}' in text
    assert '((("done")))' in text
    assert 'subgraph group["step group writers"]' in text
    assert text.count(" --> ") == len(page(ReviewFlow).arrows)


SEEDS = range(12)
Layout = tuple[drawing_layers.Layers, list[Size], Any]


def laid_out(seed: int) -> Layout:
    picture = drawing_picture.of(generated(20, seed))
    rng = random.Random(seed)
    sizes = [Size(rng.uniform(72, 300), 40) for _ in picture.nodes]
    results = [at for at, node in enumerate(picture.nodes) if node.kind == "result"]
    layers = drawing_layers.arrange(len(sizes), picture.arrows, results)
    return layers, sizes, place(layers, sizes)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_arrow_goes_down_by_one_row_or_is_a_loop(seed: int) -> None:
    """Bends included; none is lost."""
    picture = drawing_picture.of(generated(20, seed))
    layers, _, places = laid_out(seed)
    rows = places.row_of
    assert all(rows[lower] == rows[upper] + 1 for upper, lower in layers.links)
    assert all(rows[target] <= rows[source] for source, target in layers.loops)
    ends = {(path[0], path[-1]) for path in layers.paths}
    assert ends | set(layers.loops) == set(picture.arrows)


@pytest.mark.parametrize("seed", SEEDS)
def test_nodes_of_a_row_do_not_touch(seed: int) -> None:
    """Nor do rows."""
    layers, sizes, places = laid_out(seed)
    for row in layers.rows:
        for one, other in pairwise(row):
            half = sum(sizes[slot].width / 2 for slot in (one, other) if slot < len(sizes))
            assert places.x[other] - places.x[one] >= half + 20
    assert all(
        below > above + 40 for above, below in zip(places.bottoms, places.tops[1:], strict=False)
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_loops_go_up_beside_all_nodes(seed: int) -> None:
    """Each in a lane of its own, at a distance from what it passes."""
    layers, sizes, places = laid_out(seed)
    lanes = routes.lanes(layers, places, sizes)
    assert len(lanes) == len(layers.loops) > 0
    for lane in lanes.values():
        for slot in (slot for row in layers.rows[lane.upper : lane.lower + 1] for slot in row):
            half = sizes[slot].width / 2 if slot < len(sizes) else 0
            assert abs(places.x[slot] - lane.x) > half + 10
    for one, other in ((a, b) for a in lanes.values() for b in lanes.values() if a is not b):
        assert not one.meets(other) or abs(one.x - other.x) > 10


def test_what_follows_each_other_stands_in_a_straight_line() -> None:
    """A workflow without forks is one column."""
    chain = [(at, at + 1) for at in range(6)]
    layers = drawing_layers.arrange(7, chain, [5])
    assert len(set(place(layers, [Size(100, 40)] * 7).x.values())) == 1


def test_arrows_do_not_cross_where_they_need_not() -> None:
    """The order in a row follows the rows beside it."""
    arrows = [(0, 1), (0, 2), (1, 4), (2, 3), (3, 5), (4, 5), (5, 6)]
    rows = drawing_layers.arrange(7, arrows, [5]).rows
    assert [rows[1].index(1), rows[1].index(2)] == [rows[2].index(4), rows[2].index(3)]


def test_a_long_arrow_is_straight_in_its_middle() -> None:
    """Its bends are one column, also where short arrows cross it."""
    rows = [[0, 1], [2, 10], [11, 3], [4, 5]]
    links = [(0, 2), (1, 10), (10, 11), (2, 3), (11, 4), (3, 5)]
    x = columns(rows, links, 10, lambda _one, _other: 50)
    assert x[10] == x[11]


def draw(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["draw", *arguments])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_prints_the_file_it_wrote(folder: Path) -> None:
    """On stdout, so that a script can open it."""
    done = draw("joke")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "joke.html\n", "")
    assert (folder / "joke.html").read_text("utf-8").startswith("<!doctype html>")


def test_the_command_writes_mermaid(folder: Path) -> None:
    """By the ending."""
    assert draw("fleet.joke:JokeFlow", "--to", "flow.mmd").exit_code == 0
    assert (folder / "flow.mmd").read_text("utf-8").startswith("flowchart TD\n")


def test_the_command_refuses_other_endings(folder: Path) -> None:
    """With exit code 2 and the endings that would do."""
    done = draw("joke", "--to", "flow.pdf")
    assert done.exit_code == 2
    assert "neither .html nor .mmd" in done.stderr


def test_the_command_says_what_cannot_be_written(folder: Path) -> None:
    """With exit code 1."""
    done = draw("joke", "--to", "missing/flow.html")
    assert done.exit_code == 1
    assert "No such file or directory" in done.stderr


DOCS = Path(__file__).parents[3] / "docs" / "drawing.md"


def _examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)


def test_the_docs_show_the_joke_workflow_as_it_is_drawn() -> None:
    """Their Mermaid block is what the command writes."""
    assert _examples("mermaid") == [mermaid.mermaid(drawing_picture.of(JokeFlow))]


def test_the_examples_of_the_docs_run(folder: Path) -> None:
    """And write the files that they name."""
    place = {"run_id": "r-17", "workflow": "joke", "group": "main", "prefix": "fleet"}
    run = RunExport(**place, workflow_class="fleet.joke:JokeFlow", outcome="running")
    (folder / "run.json").write_text(run.to_json())
    for example in _examples("python"):
        exec(example, {})  # noqa: S102 - our own documentation
    assert (folder / "joke.html").exists()
    assert "run r-17 · running" in (folder / "run.html").read_text()
