"""How commands end: each kind of end has one exit code, whichever command it is."""

import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fleet.cli import main
from fleet.control.bulk import calls as bulk_calls
from fleet.control.lag import reader as lags
from fleet.control.lag.reader import GroupLag, PartitionLag
from fleet.records.errors import ExitCode

NOBODY = ("--broker", "kafka://127.0.0.1:1")
FLEET = Path(sys.executable).with_name("fleet")
CLI = Path(main.__file__).parent


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main.main, [str(word) for word in arguments])


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which another program listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> list[GroupLag]:
    """What `fleet lag` finds, in place of a broker."""
    groups: list[GroupLag] = []

    async def look(*_: object) -> list[GroupLag]:
        return groups

    monkeypatch.setattr(lags, "look", look)
    return groups


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-command",),
        ("runs", "list"),
        ("runs", "lst"),
        ("lag", "--broker", "localhost"),
        ("run", "joke", "--timeout", "long"),
        ("demo", "--keep", "--stop"),
        ("runs", "list", "joke", "--since", "soon"),
        ("dead", "show", "joke", "first"),
        ("dead", "redrive", "joke", "--reason", "x"),
        ("replay", "joke.StartEvent", "--reason", "x"),
        ("draw", "joke", "--to", "joke.png"),
        ("init", "two words"),
    ],
)
def test_wrong_usage_is_refused(arguments: tuple[str, ...]) -> None:
    """Click's own code, also for what click does not check."""
    assert run(*arguments).exit_code == ExitCode.REFUSED


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "jok", "topic=x"),
        ("runs", "list", "no_such_module:Flow"),
        ("topics", "list", "fleet.joke:NoSuchFlow"),
        ("check", "no_such_module"),
        ("check", "fleet.joke:NoSuchFlow"),
        ("check", "fleet.records.events"),
        ("check", "two words"),
        ("replay", "joke.NoSuchEvent", "--limit", "1", "--reason", "x"),
        ("lag", "no-such-workflow"),
        ("dev", "logs", "--folder", "{folder}"),
        ("dev", "logs", "--follow", "--folder", "{folder}"),
    ],
)
def test_a_name_that_nothing_has_is_refused(
    arguments: tuple[str, ...], behind: list[GroupLag], tmp_path: Path
) -> None:
    """The sentence says so on stderr, and there is no data."""
    result = run(*(word.format(folder=tmp_path) for word in arguments))
    assert (result.exit_code, result.stdout) == (ExitCode.REFUSED, "")
    assert result.stderr.startswith("Error: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("dev", "up", "--folder", "{folder}", "--port", "{port}"),
        ("dev", "llm", "--port", "{port}"),
        ("exporter", "--port", "{port}", *NOBODY),
        ("init", "json"),
        ("init", "hello", "--into", "{folder}"),
    ],
)
def test_what_the_state_forbids_is_refused(
    arguments: tuple[str, ...], taken: int, tmp_path: Path
) -> None:
    """A port that another program has is one refusal, of whichever command."""
    (tmp_path / "file").touch()
    result = run(*(word.format(folder=tmp_path, port=taken) for word in arguments))
    assert result.exit_code == ExitCode.REFUSED, result.output
    assert result.stderr.startswith("Error: ")


def test_without_a_terminal_and_without_yes_a_command_is_refused(tmp_path: Path) -> None:
    """It shows what it would do first."""
    result = run("dev", "down", "--purge", "--folder", tmp_path)
    assert result.exit_code == ExitCode.REFUSED
    assert f"This removes all data in {tmp_path}" in result.stderr
    assert "add --yes" in result.stderr


@contextmanager
def asking(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a command in a terminal up to its question; give it, and the terminal's other end."""
    terminal, stdin = pty.openpty()
    command = [str(FLEET), "dev", "down", "--purge", "--folder", str(folder)]
    with subprocess.Popen(command, stdin=stdin, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        shown = b""
        while b"[y/N]" not in shown:
            shown += os.read(process.stderr.fileno(), 1024)
        yield process, terminal
    os.close(stdin)
    os.close(terminal)


@pytest.mark.parametrize("typed", [b"n\n", b"\x04"], ids=["no", "end of input"])
def test_a_question_without_a_yes_changes_nothing(typed: bytes, tmp_path: Path) -> None:
    """Whether you say no or nothing."""
    with asking(tmp_path) as (process, terminal):
        os.write(terminal, typed)
        assert process.wait() == ExitCode.REFUSED


def test_ctrl_c_at_a_question_is_an_interruption(tmp_path: Path) -> None:
    """As everywhere, and no answer."""
    with asking(tmp_path) as (process, _):
        # Python looks for signals before it reads: one that comes in between waits for the next.
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
        assert process.returncode == ExitCode.INTERRUPTED


def test_every_command_asks_by_one_question() -> None:
    """Two questions would be refused in two ways."""
    asking = {
        path.name
        for path in CLI.rglob("*.py")
        if re.search(r"\bclick\.(confirm|prompt)\(|isatty\(\)", path.read_text())
    }
    # `dev` looks whether stderr is a terminal, to move a line there.
    assert asking <= {"consent.py", "dev.py"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "joke", "topic=x"),
        ("runs", "list", "joke"),
        ("topics", "list", "joke"),
        ("lag",),
        ("groups", "list"),
        ("replay", "--resume", "x"),
        ("demo",),
    ],
)
def test_without_a_broker_a_command_is_unreachable(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """So that a script can wait and try again."""
    monkeypatch.setenv("FLEET_DATA_DIR", str(tmp_path))
    assert run(*arguments, *NOBODY).exit_code == ExitCode.UNREACHABLE


def test_a_broker_of_this_machine_that_does_not_run_is_unreachable(tmp_path: Path) -> None:
    """The same code, whoever looks for it."""
    assert run("dev", "status", "--folder", tmp_path).exit_code == ExitCode.UNREACHABLE


def test_some_without_a_result_is_partly_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is left is named."""

    async def half(_: object, progress: bulk_calls.BatchProgress) -> None:
        progress.total, progress.finished, progress.failed = 2, 1, 1
        progress.reasons.append("line 2: no")

    monkeypatch.setattr(bulk_calls, "run", half)
    (tmp_path / "in").touch()
    result = run("run", "joke", "--input", tmp_path / "in", "--output", tmp_path / "out")
    assert result.exit_code == ExitCode.PARTLY_DONE
    assert "line 2: no" in result.stderr


def test_a_limit_that_is_crossed_has_its_own_code(behind: list[GroupLag]) -> None:
    """An alert is no failure of the command."""
    late = PartitionLag("p.joke.StartEvent", 0, 1, 2, 1, seconds=61.0, exact=True)
    behind.append(GroupLag("joke", "main", "Stable", 1, (late,)))
    assert run("lag", "--fail-above-seconds", "60").exit_code == ExitCode.ABOVE_LIMIT
    assert run("lag", "--fail-above-seconds", "62").exit_code == ExitCode.DONE


def test_ctrl_c_is_an_interruption() -> None:
    """In a real process, in the middle of its work."""
    command = [str(FLEET), "lag", "--watch", *NOBODY]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()
        # Python looks for signals before it reads: one that comes in between waits for the next.
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
        assert process.returncode == ExitCode.INTERRUPTED


def test_a_failure_is_1(tmp_path: Path) -> None:
    """What is not one of the others."""
    (tmp_path / "file").touch()
    assert run("init", "hello", "--into", tmp_path / "file" / "hello").exit_code == ExitCode.FAILED


#: Numbers that are an exit code wherever they stand as one.
_NUMBER = re.compile(r"\bexit_code = [0-5]\b|\b(?:Exit|exit|SystemExit)\(\d+\)")


def test_no_command_has_a_number_of_its_own() -> None:
    """All of them have names."""
    found: dict[str, Any] = {
        str(path): _NUMBER.findall(path.read_text())
        for room in (CLI, CLI.parent / "control")
        for path in room.rglob("*.py")
    }
    assert {path: numbers for path, numbers in found.items() if numbers} == {}
