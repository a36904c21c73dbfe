"""`fleet check`: what it looks at, what it prints, and how it ends."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fleet.cli import main
from fleet.records.errors import ExitCode

EVENTS = """
import abc
from fleet import Event, StartEvent, StopEvent, Workflow, step

class Order(Event):
    pass
"""

GOOD = """
class Good(Workflow):
    @step
    async def only(self, ev: StartEvent) -> StopEvent: ...
"""

ODD = """
class Odd(Workflow):
    @step
    async def only(self, ev: StartEvent) -> StopEvent: ...
    @step
    async def price(self, ev: Order) -> Order: ...
"""

Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module into the current directory, under a name that no other test has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(tmp_path)])
    written = []

    def write(name: str, source: str) -> str:
        written.append(name)
        (tmp_path / f"{name}.py").write_text(EVENTS + source)
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)


def check(*arguments: str) -> Result:
    return CliRunner().invoke(main.main, ["check", *arguments])


def test_a_good_module_ends_with_0(write: Write) -> None:
    """Words are on stderr; there is no data."""
    result = check(write("checked_good", GOOD))
    assert (result.exit_code, result.stdout) == (ExitCode.DONE, "")
    assert result.stderr == "Nothing is wrong with 1 workflow.\n"


def test_findings_end_with_2(write: Write) -> None:
    """Each is a line with its workflow; the sentence counts, and good workflows count, too."""
    result = check(write("checked_odd", GOOD + ODD))
    assert result.exit_code == ExitCode.REFUSED
    assert [
        line.partition(": nothing")[0].partition("; ")[0] for line in result.stdout.splitlines()
    ] == [
        "checked_odd:Odd: [reachability] step price can never run",
        "checked_odd:Odd: [dead_end] step price leads nowhere: Order never reaches StopEvent",
    ]
    assert result.stderr.startswith("Error: 2 findings in 1 of 2 workflows\nSee docs/reference.md#")


def test_one_class_of_a_module(write: Write) -> None:
    """The others are not looked at."""
    module = write("checked_one", GOOD + ODD)
    assert check(f"{module}:Good").exit_code == ExitCode.DONE
    assert check(f"{module}:Odd").exit_code == ExitCode.REFUSED


def test_json_has_every_workflow(write: Write) -> None:
    """With its findings, which may be none; a workflow that is named twice is there once."""
    module = write("checked_json", GOOD + ODD)
    result = check(module, f"{module}:Good", "joke", "-o", "json")
    assert result.exit_code == ExitCode.REFUSED
    found = {each["workflow"]: len(each["findings"]) for each in json.loads(result.stdout)}
    assert found == {"checked_json:Odd": 2, "checked_json:Good": 0, "fleet.joke:JokeFlow": 0}


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("checked_broken", "1 / 0", "the module 'checked_broken' cannot be imported: ZeroDivision"),
        (
            "checked_needs",
            "import no_such",
            "it needs the module 'no_such', which is not",
        ),
        (
            "checked_wrong",
            "class Wrong(Workflow):\n    @step\n    async def only(self, ev: str) -> None: ...",
            "checked_wrong: parameter ev of step only is str, which is no Event",
        ),
        (
            "checked_served",
            f"from fleet import serve\n{ODD}\napp = serve(Odd)",
            "checked_served: [dead_end] step price leads nowhere",
        ),
    ],
)
def test_a_module_that_cannot_be_imported_is_a_finding(
    write: Write, name: str, source: str, said: str
) -> None:
    """The other names are still checked."""
    result = check(write(name, source), "joke", "-o", "json")
    assert result.exit_code == ExitCode.REFUSED
    broken, joke = json.loads(result.stdout)
    assert (broken["workflow"], joke["findings"]) == (name, [])
    assert said in "\n".join(f"{name}: {finding}" for finding in broken["findings"])


def test_what_is_left_out(write: Write) -> None:
    """Imported classes if the module has its own, abstract ones, and those with an underscore."""
    rest = """
from fleet.joke import JokeFlow

class _Base(Workflow):
    pass

class Abstract(Workflow, abc.ABC):
    @abc.abstractmethod
    def name(self) -> str: ...

Again = Good
"""
    result = check(write("checked_rest", GOOD + rest), "-o", "json")
    assert [each["workflow"] for each in json.loads(result.stdout)] == ["checked_rest:Good"]


def test_a_package_that_only_imports_its_workflows(write: Write) -> None:
    """They are checked under the module that defines them."""
    result = check(write("checked_imports", "from fleet.joke import JokeFlow"), "-o", "json")
    assert [each["workflow"] for each in json.loads(result.stdout)] == ["fleet.joke:JokeFlow"]


def test_a_finding_is_one_line_whatever_it_holds(write: Write) -> None:
    """A name with a newline makes no second line."""
    source = """
Broken = type("Bro\\nken", (Event,), {})

class Named(Workflow):
    @step
    async def first(self, ev: StartEvent) -> Broken: ...
    @step
    async def last(self, ev: Broken) -> StopEvent: ...
"""
    result = check(write("checked_lines", source))
    assert len(result.stdout.splitlines()) == 1
    assert "cannot be the name of an event type" in result.stdout
