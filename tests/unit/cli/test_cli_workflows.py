"""Finding a workflow by the name that people give it."""

import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest

from fleet.control import workflows
from fleet.joke import JokeFlow
from fleet.records.errors import FleetError
from fleet.workflow.workflow import Workflow

SOURCE = """
from fleet import StartEvent, StopEvent, Workflow, step

class Greeting(Workflow):
    @step
    async def greet(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result="hello")

class Holder:
    Inner = Greeting

made = Greeting()
"""

Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module into the current directory, under a name that no other test has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(tmp_path)])
    known = set(sys.modules)

    def write(name: str, source: str) -> str:
        (tmp_path / f"{name}.py").write_text(source)
        return name

    yield write
    for name in set(sys.modules) - known:
        del sys.modules[name]


def refusal(name: str) -> tuple[str, int]:
    """Return the sentence and the exit code that a name ends with."""
    with pytest.raises(FleetError) as caught:
        workflows.find(name)
    return str(caught.value), getattr(caught.value, "exit_code", 1)


def installed(monkeypatch: pytest.MonkeyPatch, **targets: list[str]) -> None:
    """Have packages installed that name these workflows."""
    points = metadata.EntryPoints(
        metadata.EntryPoint(name, target, workflows.ENTRY_POINTS)
        for name, several in targets.items()
        for target in several
    )
    monkeypatch.setattr(metadata, "entry_points", points.select)


def test_a_workflow_is_found_by_its_entry_point() -> None:
    """`joke` comes with Fleet."""
    assert workflows.find("joke") is JokeFlow


def test_a_workflow_is_found_by_module_and_class() -> None:
    """As `faust -A` has it, with the class after the colon."""
    assert workflows.find("fleet.joke:JokeFlow") is JokeFlow


def test_modules_of_the_current_directory_are_found(write: Write) -> None:
    """Without an installation, as `faust -A` finds them."""
    found = workflows.find(write("in_this_folder", SOURCE) + ":Greeting")
    assert issubclass(found, Workflow)
    assert found.__module__ == "in_this_folder"


def test_a_class_inside_another_is_found(write: Write) -> None:
    """The part after the colon may be a path."""
    assert workflows.find(write("with_inner", SOURCE) + ":Holder.Inner").__name__ == "Greeting"


def test_an_unknown_name_is_answered_with_those_that_exist() -> None:
    """The nearest one first; wrong names end with 2."""
    sentence, code = refusal("jokes")
    assert "no workflow is called 'jokes'; did you mean joke?" in sentence
    assert "joke (fleet.joke:JokeFlow)" in sentence
    assert "module:Class" in sentence
    assert code == 2


@pytest.mark.parametrize("name", ["", ":", ":JokeFlow", ".joke:JokeFlow", "a/b.py:Flow", "a b:c"])
def test_what_cannot_be_a_name_is_refused_the_same_way(name: str) -> None:
    """No import is tried with it."""
    assert refusal(name)[0].startswith(f"no workflow is called {name!r}")


def test_one_name_for_two_workflows_is_ambiguous(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two packages may not know of each other; guessing would run the wrong one."""
    installed(monkeypatch, digest=["one:Digest", "two:Digest"])
    sentence, code = refusal("digest")
    assert "one:Digest or two:Digest" in sentence
    assert code == 2


def test_one_workflow_that_is_installed_twice_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """An editable installation beside an ordinary one lists it twice."""
    installed(monkeypatch, twice=["fleet.joke:JokeFlow", "fleet.joke:JokeFlow"])
    assert workflows.find("twice") is JokeFlow


@pytest.mark.parametrize("name", ["nowhere_at_all:Flow", "fleet.nowhere:Flow", "sys.nowhere:Flow"])
def test_a_missing_module_is_named(name: str) -> None:
    """With where it was looked for."""
    sentence, code = refusal(name)
    assert f"there is no module {name.partition(':')[0]!r} in {Path.cwd()}" in sentence
    assert code == 2


def test_a_missing_import_of_the_module_is_told_from_a_missing_module(write: Write) -> None:
    """What is not installed is named, and the line that wants it."""
    name = write("wants_more", "import os\nimport not_installed_here\n")
    sentence, code = refusal(f"{name}:Flow")
    assert "the module 'wants_more' cannot be imported: it needs the module" in sentence
    assert "'not_installed_here', which is not installed (wants_more.py, line 2)" in sentence
    assert code == 1


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("x = 1\nraise ValueError('no luck')\n", "ValueError: no luck (broken.py, line 2)"),
        ("import json\n\njson.loads('{')\n", "(broken.py, line 3)"),
        ("x = 1\n\nclass :\n", "SyntaxError: invalid syntax (broken.py, line 3)"),
        ("raise SystemExit(3)\n", "SystemExit: 3 (broken.py, line 1)"),
        ("assert False\n", "AssertionError (broken.py, line 1)"),
    ],
    ids=["its own error", "an error in a library", "syntax", "exit", "no text"],
)
def test_a_broken_module_is_told_with_its_own_line(source: str, cause: str, write: Write) -> None:
    """The user's line, not ours and not a library's."""
    sentence, code = refusal(write("broken", source) + ":Flow")
    assert sentence.startswith("the module 'broken' cannot be imported: ")
    assert cause in sentence
    assert code == 1


def test_what_fleet_itself_refuses_at_import_stays_as_it_is(write: Write) -> None:
    """An invalid graph already says what is wrong and what to do."""
    source = "from fleet import Workflow\nclass Empty(Workflow): ...\nEmpty()\n"
    assert refusal(write("invalid", source) + ":Empty")[0].startswith("Empty is not a valid")


@pytest.mark.parametrize(
    ("attribute", "what"),
    [
        ("Greating", "is not there"),
        ("", "is not there"),
        ("made", "is an object of type Greeting and no workflow class"),
        ("Holder", "is a class that is no Workflow"),
        ("Workflow", "is a class that is no Workflow"),
    ],
)
def test_what_is_no_workflow_is_answered_with_those_of_the_module(
    attribute: str, what: str, write: Write
) -> None:
    """The names that would have been right, ready to be copied."""
    name = write("several", SOURCE)
    sentence, code = refusal(f"{name}:{attribute}")
    assert sentence == f"{name}:{attribute} {what}; the module has {name}:Greeting"
    assert code == 2


def test_a_module_without_workflows_says_so() -> None:
    """There is nothing to suggest."""
    assert refusal("json:loads")[0].endswith("; the module has no workflow class")
