"""Texts of others never reach a terminal as they are: escapes, newlines in lines, turned text."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fleet.cli import main
from fleet.cli.actions import runs
from fleet.cli.shared import output, terminal
from fleet.cli.views import dead
from fleet.cli.views.screen import Screen
from fleet.records import printable
from fleet.records.errors import FleetError
from fleet.workflow.errors import EndGone, RunConflict, RunEnded, WorkflowCancelledByUser

#: What a terminal obeys, what makes lines of its own, what turns the direction, what UTF-8 has not.
NASTY = "a\x1b[31mb\x9b2Jc\rd\x08e\u202ef\u2028g\u0085h\x7fi\ufeffj\ud800k\x00l\x07"
CLI = Path(main.__file__).parent


def unsafe(text: str) -> list[str]:
    """Return what of *text* a terminal must not get."""
    return re.findall(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\ufeff\ud800-\udfff]", text
    )


def test_a_line_stays_one_line() -> None:
    """What is unsafe is written as Python would; other text stays, of whatever script."""
    assert printable.line("a\nb\x1b[2J\u202e") == "a\\nb\\x1b[2J\\u202e"
    assert printable.line("שלום 👩‍🔬 naïve — ok") == "שלום 👩‍🔬 naïve — ok"
    assert printable.line(7) == "7"


def test_text_keeps_its_lines() -> None:
    """And its tabs; the rest is as in a line."""
    assert printable.text("a\n\tb\rc") == "a\n\tb\\rc"
    assert not unsafe(printable.text(NASTY))


def test_json_means_the_same() -> None:
    """Programs read what was there."""
    written = json.dumps({NASTY: [NASTY]}, ensure_ascii=False, indent=2)
    safe = printable.json(written)
    assert not unsafe(safe)
    assert json.loads(safe) == {NASTY: [NASTY]}


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_row_of_a_table_stays_one(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is in its cells."""
    output.show([{"run": f"x\ny{NASTY}", "outcome": "completed"}], form)
    shown = capsys.readouterr().out
    assert not unsafe(shown)
    if form == "table":
        assert len(shown.splitlines()) == 2
    else:
        assert json.loads(shown)[0]["run"] == f"x\ny{NASTY}"


def test_a_table_without_rows_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Not even an empty line; JSON is an empty list."""
    output.show([], "table")
    assert capsys.readouterr().out == ""
    output.show([], "json")
    assert json.loads(capsys.readouterr().out) == []


def test_whatever_is_said_is_safe(capsys: pytest.CaptureFixture[str]) -> None:
    """On stdout and stderr, by commands and while they work."""
    terminal.echo(NASTY)
    terminal.echo(NASTY, err=True)
    output.show_object({"run": NASTY})
    screen = Screen()
    screen.line(NASTY)
    screen.stage(NASTY)
    screen.result(NASTY)
    captured = capsys.readouterr()
    assert not unsafe(captured.out + captured.err)


def test_a_whole_dead_letter_is_safe(capsys: pytest.CaptureFixture[str]) -> None:
    """No value of it makes a line that looks like another."""
    shown: dict[str, Any] = {"letter": "1:2", "at": 0.0, "run": "x\nreason  fine", "headers": {}}
    terminal.echo(dead.text({**shown, "headers": {"a\nrun": NASTY}, "stack": NASTY}))
    out = capsys.readouterr().out
    assert not unsafe(out)
    lines = out.splitlines()
    assert lines[2:4] == ["run      x\\nreason  fine", f"headers  a\\nrun={printable.line(NASTY)}"]


def test_an_error_of_a_command_is_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text may hold a run's id, or what a step raised."""

    def fail(*_: object, **__: object) -> None:
        raise FleetError(NASTY)

    monkeypatch.setattr(runs, "source", fail)
    result = CliRunner().invoke(main.main, ["runs", "list", "joke"])
    assert result.exit_code == 1
    assert "Error: a\\x1b[31mb" in result.output
    assert not unsafe(result.output)


@pytest.mark.parametrize(
    "error",
    [
        RunConflict("a\nb"),
        RunEnded("a\nb", "A"),
        EndGone("a\nb"),
        WorkflowCancelledByUser("a\nb", ""),
    ],
    ids=lambda each: type(each).__name__,
)
def test_an_id_in_a_message_stays_in_its_line(error: Exception) -> None:
    """Also in the logs of an application that calls."""
    assert "a\\nb" in str(error)


def test_commands_have_one_way_to_speak() -> None:
    """What does not go through `terminal` or a safe console would reach the terminal raw."""
    raw = re.compile(
        r"\bclick\.(secho|echo|echo_via_pager|style)\(|\bprint\(|sys\.std(out|err)\.write"
    )
    found = {
        path.name: raw.findall(path.read_text())
        for room in (CLI, CLI.parent / "control")
        for path in room.rglob("*.py")
        if path.name != "terminal.py"
    }
    assert {name for name, each in found.items() if each} <= {"output.py", "screen.py"}
    for name in ("shared/output.py", "views/screen.py"):
        prints = re.findall(r"^.*\bprint\(.*$", (CLI / name).read_text(), re.MULTILINE)
        assert all("_table(" in each or "printable." in each for each in prints), prints
