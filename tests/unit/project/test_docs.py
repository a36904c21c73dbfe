"""What README and docs show is there: links, commands, code."""

import ast
import builtins
import inspect
import re
import shlex
import subprocess
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import voice
from click.testing import CliRunner, Result

import fleet
from fleet.cli import main
from fleet.workflow import definition, marking

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
#: A fenced block, also one within a list: its language, and what is in it.
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
#: A command in running text.
INLINE = re.compile(r"`(fleet [a-z-][^`\n]*)`")
#: What may stand before a command in a line of a shell block: a prompt, variables.
BEFORE_COMMAND = re.compile(r"^(\$ )?(\w+=\S+ )*")
README_LINES = 110
#: The sections of docs/README.md.
SECTIONS = (
    "Tutorial",
    "Write",
    "Test",
    "Call",
    "Deploy",
    "Operate",
    "Understand",
    "Reference",
)
#: Folders of people and of the machines that the project was made on, and package mirrors.
MACHINE = re.compile(
    r"/(?:home|Users)/[a-z]+/|/work/(?:main|shared)\b|/tmp/w/"
    r"|\bartifactory\b|\bnexus\.|\.(?:internal|corp|intra)\b|index-url[= ]+http",
    re.IGNORECASE,
)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    return BLOCK.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings get on GitHub."""
    headings = (
        re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(prose(page))
    )
    return {heading.strip().replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> Iterator[str]:
    for link in LINK.findall(prose(page)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if "://" in link:
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_pages_are_in_plain_english(page: Path) -> None:
    """Outside code, which has names that are older than this rule."""
    assert voice.BANNED.findall(INLINE.sub("", prose(page))) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_to_a_file_or_heading_leads_there(page: Path) -> None:
    """Within the repository; addresses of the web are not asked."""
    assert list(broken_links(page)) == []


def test_a_link_that_leads_nowhere_would_be_noticed(tmp_path: Path) -> None:
    """To a file and to a heading; what stands in code is no link."""
    page = tmp_path / "page.md"
    page.write_text(
        "# One `thing`\n[a](none.md) [b](#one-thing) [c](#two) [d](page.md#one-thing)\n"
        "```text\n# Two\n[e](none.md)\n```\n"
    )
    assert list(broken_links(page)) == ["none.md", "#two"]


def test_every_page_is_in_the_index() -> None:
    """docs/README.md has a line for each."""
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages - set(LINK.findall(prose(ROOT / "docs" / "README.md"))) == set()


def sections(page: Path) -> dict[str, list[str]]:
    """Return the links of a page by the heading that they stand under."""
    _, *parts = re.split(r"^## ", prose(page), flags=re.MULTILINE)
    return {part.partition("\n")[0]: LINK.findall(part) for part in parts}


def test_the_index_is_by_reader() -> None:
    """A section for each thing that a reader wants to do, and none of them is empty."""
    found = sections(ROOT / "docs" / "README.md")
    assert list(found) == list(SECTIONS)
    assert all(found.values())


def test_every_page_is_in_one_section_of_the_index() -> None:
    """A page in two of them would be looked for in both."""
    links = [link for each in sections(ROOT / "docs" / "README.md").values() for link in each]
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages - set(links) == set()
    assert len(links) == len(set(links))


# -- commands -------------------------------------------------------------------------------------


def in_shell_blocks(page: Path) -> Iterator[str]:
    for language, block in BLOCK.findall(page.read_text()):
        if language in ("sh", "bash", "console"):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"&&|\||>", line):
                    command = BEFORE_COMMAND.sub("", part.strip())
                    if command.startswith("fleet "):
                        yield command


def in_prose(page: Path) -> Iterator[str]:
    # The reference's are headings over the real help.
    return iter(INLINE.findall(prose(page)) if page.name != "reference.md" else ())


def shown(find: Any) -> list[Any]:
    return [
        pytest.param(command, id=f"{name(page)}: {command}")
        for page in PAGES
        for command in sorted(set(find(page)))
    ]


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The real command line without what its commands do."""
    monkeypatch.setattr(click.Command, "invoke", lambda *_: None)
    monkeypatch.chdir(tmp_path)

    def parsed(command: str) -> Result:
        _, *words = shlex.split(command, comments=True)
        for word in words:
            # Files that a command reads have to be there.
            if re.fullmatch(r"\w+\.\w+", word):
                (tmp_path / word).touch()
        return CliRunner().invoke(main.main, words)

    return parsed


@pytest.mark.parametrize("command", shown(in_shell_blocks))
def test_every_command_in_a_shell_block_can_be_typed(parse: Any, command: str) -> None:
    """As it stands there, arguments and options included."""
    result = parse(command)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", shown(in_prose))
def test_every_command_in_the_text_is_there(parse: Any, command: str) -> None:
    """It may stand there without its arguments."""
    result = parse(command)
    is_only_short = "Missing argument" in result.output or "Commands:" in result.output
    assert result.exit_code == 0 or is_only_short, result.output


@pytest.mark.parametrize("command", ["fleet nosuch", "fleet dev nosuch", "fleet run joke --nosuch"])
def test_a_command_that_is_not_there_would_be_noticed(parse: Any, command: str) -> None:
    """At each level, options included."""
    result = parse(command)
    assert result.exit_code == 2
    assert "No such" in result.output


# -- code -----------------------------------------------------------------------------------------


#: Pages that other tests run as a whole, where a block may need what an earlier one made.
RUN_AS_A_WHOLE = {"testing.md", "tutorial.md", "workflows.md"}


def python_blocks() -> list[Any]:
    return [
        pytest.param(block, id=f"{name(page)}, {number}")
        for page in PAGES
        if page.name not in RUN_AS_A_WHOLE
        for number, (language, block) in enumerate(BLOCK.findall(page.read_text()), 1)
        if language == "python"
    ]


def workflows(names: dict[str, Any]) -> Iterator[type[fleet.Workflow]]:
    """Yield the workflows that an example made and that have steps: others are cut short."""
    for found in names.values():
        if isinstance(found, type) and issubclass(found, fleet.Workflow) and has_steps(found):
            yield found


def has_steps(workflow: type[fleet.Workflow]) -> bool:
    return any(marking.is_step(member) for member in vars(workflow).values())


async def execute(block: str, names: dict[str, Any]) -> None:
    """Run *block* as a notebook does, where `await` may stand outside of a function."""
    names.setdefault("__builtins__", builtins)
    code = compile(textwrap.dedent(block), "example", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    function = types.FunctionType(code, names)
    if inspect.iscoroutinefunction(function):
        await function()
    else:
        function()


@pytest.mark.parametrize("block", python_blocks())
async def test_every_example_is_python_and_its_workflows_are_valid(block: str) -> None:
    """Examples with a workflow are run, with fleet's names at hand, and their graphs checked."""
    compile(textwrap.dedent(block), "example", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if not re.search(r"^class \w+\(Workflow", block, re.MULTILINE):
        return
    names: dict[str, Any] = {each: getattr(fleet, each) for each in fleet.__all__}
    own = dict(names, __name__="example")
    await execute(block, own)
    for workflow in workflows({each: own[each] for each in own.keys() - names.keys()}):
        definition.graph(workflow)


async def test_an_example_that_does_not_fit_together_would_be_noticed() -> None:
    """A step whose event no step sends."""
    names: dict[str, Any] = {each: getattr(fleet, each) for each in fleet.__all__}
    names["__name__"] = "example"
    await execute(
        "class Odd(Event): ...\n"
        "class Lost(Workflow):\n"
        "    @step\n"
        "    async def first(self, ev: StartEvent) -> StopEvent: ...\n"
        "    @step\n"
        "    async def second(self, ev: Odd) -> StopEvent: ...\n",
        names,
    )
    (lost,) = workflows({"Lost": names["Lost"]})
    with pytest.raises(fleet.WorkflowValidationError, match="Odd"):
        definition.graph(lost)


# -- the rest -------------------------------------------------------------------------------------


def test_the_readme_is_short() -> None:
    """At most README_LINES lines: a page that is read to its end."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


def committed_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    paths = (ROOT / each for each in listed.stdout.decode().split("\0") if each)
    return [path for path in paths if path.is_file() and path != Path(__file__)]


def test_no_file_names_a_machine_or_a_package_mirror() -> None:
    """What holds on one machine means nothing on another, or tells too much."""
    found = [
        f"{name(file)}: {hit[0]}"
        for file in {*committed_files(), *PAGES}
        for hit in MACHINE.finditer(file.read_bytes().decode(errors="replace"))
    ]
    assert found == []
