"""`fleet init`: names, folders, and what a new package consists of."""

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from fleet.cli import main
from fleet.cli.scaffold import new_package
from fleet.cli.scaffold.new_package import BadPackageName, PackageNameTaken
from fleet.control import workflows

DOCS = Path(__file__).parents[3] / "docs" / "own-package.md"
NAME = "greetings"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, which is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*arguments: str) -> Result:
    return CliRunner().invoke(main.main, ["init", *arguments])


def files(folder: Path) -> set[str]:
    return {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}


# -- what is written ------------------------------------------------------------------------------


def test_a_package_with_tests_and_an_image_is_written(here: Path) -> None:
    """Into a folder of the package's name."""
    assert init(NAME).exit_code == 0
    assert files(here) == {
        f"{NAME}/{each}"
        for each in (
            ".dockerignore",
            ".gitignore",
            "Dockerfile",
            "README.md",
            "pyproject.toml",
            f"{NAME}/__init__.py",
            f"{NAME}/flows.py",
            "tests/test_flows.py",
            "tests/test_on_kafka.py",
        )
    }


def test_nothing_of_the_template_is_left_open(here: Path) -> None:
    """Every place for a word has one, and Python files are Python."""
    for file in new_package.write(NAME, here):
        text = file.read_text()
        assert not re.search(r"\$(name|version|python|\$)|\bNAME\b|\.template", text), file
        if file.suffix == ".py":
            ast.parse(text)


def test_the_package_asks_for_this_version_of_fleet(here: Path) -> None:
    """An older one may lack what the package uses."""
    new_package.write(NAME, here)
    project = tomllib.loads((here / "pyproject.toml").read_text())["project"]
    assert project["name"] == NAME
    assert project["dependencies"] == [f"fleet-workflows>={metadata.version('fleet-workflows')}"]


def test_the_entry_point_leads_to_the_workflow(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`fleet run hello` means the class that was written, whose own name is the same."""
    # Another name than elsewhere: what was imported is taken in this process from then on.
    new_package.write("welcomes", here)
    project = tomllib.loads((here / "pyproject.toml").read_text())["project"]
    (name, target), *others = project["entry-points"][workflows.ENTRY_POINTS].items()
    monkeypatch.setattr(sys, "path", [str(here), *sys.path])
    assert not others
    assert workflows.find(target).workflow_name == name


def test_the_image_has_the_python_that_the_tests_ran_on(here: Path) -> None:
    """So that nothing is new in the image."""
    new_package.write(NAME, here)
    images = re.findall(r"^FROM python:(\S+)", (here / "Dockerfile").read_text(), re.MULTILINE)
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert images == [running, f"{running}-slim"]


def test_the_package_is_as_ruff_wants_it(here: Path) -> None:
    """Formatted; imports sorted, and everything with its docstring."""
    pytest.importorskip("ruff", reason="of the extra `lint`")
    new_package.write(NAME, here)
    for command in (["format", "--check", "--line-length=100"], ["check", "--extend-select=I,D1"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", "--no-cache", "."],
            capture_output=True,
            text=True,
            check=False,  # below, with its findings
        )
        assert done.returncode == 0, done.stdout + done.stderr


# -- where it is written --------------------------------------------------------------------------


def test_the_folder_is_on_stdout_and_the_next_commands_on_stderr() -> None:
    """A script can go on with the folder, a person with the commands."""
    result = init(NAME, "--into", "some where")
    assert result.stdout == "some where\n"
    said = [line.partition("#")[0].strip() for line in result.stderr.splitlines()]
    assert said[2:5] == ["cd 'some where'", "pip install -e '.[test]'", "pytest"]
    assert f"faust -A {NAME}.flows worker -l info" in said


def test_here_needs_no_cd(here: Path) -> None:
    """`--into .` writes into the current directory."""
    result = init(NAME, "--into", ".")
    assert "cd " not in result.stderr
    assert (here / "pyproject.toml").exists()


def test_a_repository_that_was_just_made_is_empty(here: Path) -> None:
    """It has its .git and nothing else."""
    (here / NAME / ".git").mkdir(parents=True)
    assert init(NAME).exit_code == 0


def test_files_that_are_there_stay_as_they_are(here: Path) -> None:
    """Nothing is written beside them either."""
    (here / NAME).mkdir()
    (here / NAME / "notes.txt").write_text("mine")
    result = init(NAME)
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: {NAME} has notes.txt in it, and nothing is overwritten; "
        "name a folder that is new or empty with --into\n"
        "See docs/reference.md#foldertaken\n"
    )
    assert files(here) == {f"{NAME}/notes.txt"}


def test_a_file_is_no_folder(here: Path) -> None:
    """And is not replaced by one."""
    (here / NAME).write_text("mine")
    result = init(NAME)
    assert result.exit_code == 2
    assert f"{NAME} is a file" in result.stderr
    assert (here / NAME).read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_one_sentence(here: Path) -> None:
    """With the system's reason."""
    (here / "file").touch()
    result = init(NAME, "--into", "file/folder")
    assert result.exit_code == 1
    assert "cannot be written to file/folder: Not a directory; name another" in result.stderr


# -- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["app", "my_app", "a", "x2", "match"])
def test_a_name_of_a_package_is_taken(name: str) -> None:
    """Lower-case letters, digits and '_'; also words that only sometimes are Python's."""
    new_package.check_name(name)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("My-App", "my_app"),
        ("my.app", "my_app"),
        ("_app_", "app"),
        ("a b", "a_b"),
        ("app\n", "app"),
    ],
)
def test_a_name_that_is_nearly_one_gets_an_example(name: str, near: str) -> None:
    """What was meant, as a package can be called."""
    with pytest.raises(BadPackageName, match=rf"; for example {near}$"):
        new_package.check_name(name)


@pytest.mark.parametrize("name", ["", "2048", "über", "../up", "Class", "-"])
def test_any_other_name_is_refused(name: str) -> None:
    """In click's place, so that it ends with 2 before anything is written."""
    with pytest.raises(BadPackageName, match=r"choose another|for example [a-z]"):
        new_package.check_name(name)


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("class", "a word of the Python language"),
        ("json", "a module of Python"),
        ("tests", "beside a package"),
        ("fleet", "an installed package"),
        ("faust", "an installed package"),
        # Of a distribution, not of a module: it would need itself, and replace it.
        ("fleet_workflows", "an installed package"),
    ],
)
def test_a_name_that_means_something_else_is_refused(name: str, owner: str, here: Path) -> None:
    """The package would hide it, or be hidden by it."""
    with pytest.raises(PackageNameTaken, match=owner):
        new_package.check_name(name)
    assert init(name).exit_code == 2
    assert files(here) == set()


# -- what is told ---------------------------------------------------------------------------------


def fleet_commands(text: str) -> list[list[str]]:
    """Return the arguments of each `fleet` in *text*, also behind `docker run ... image`."""
    found = re.findall(
        r"(?:^|(?<=[ `]))fleet ((?:init|dev|run|draw|topics|config) [^`\n]*)", text, re.MULTILINE
    )
    return [shlex.split(words, comments=True) for words in found]


def test_every_command_that_is_told_can_be_typed(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the package's README, and those that `fleet init` prints."""
    result = init(NAME)
    told = fleet_commands(result.stderr) + fleet_commands((here / NAME / "README.md").read_text())
    assert {words[0] for words in told} == {"dev", "run", "draw", "topics", "config"}
    monkeypatch.setattr(click.Command, "invoke", lambda *_: None)
    for words in told:
        parsed = CliRunner().invoke(main.main, words)
        assert parsed.exit_code == 0, parsed.output


def test_the_page_shows_what_is_written(here: Path) -> None:
    """Each excerpt in docs/own-package.md is in a file of the package."""
    # Under another name: whoever followed the page has a package `myapp` installed.
    texts = [file.read_text().replace(NAME, "myapp") for file in new_package.write(NAME, here)]
    excerpts = re.findall(
        r"^```(?:python|toml|dockerfile)\n(.*?)^```$", DOCS.read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(excerpts) == 5
    for excerpt in excerpts:
        assert any(excerpt in text for text in texts), excerpt
