"""The `fleet` command itself: what it loads, and how it ends."""

import importlib.metadata
import json
import subprocess
import sys
import textwrap

import click
import pytest
from click.testing import CliRunner, Result

from fleet.cli import main
from fleet.records.errors import ExitCode, FleetError


class Unreachable(FleetError):
    """Raised when a test wants an exit code of its own."""

    exit_code = ExitCode.UNREACHABLE


ENDINGS: dict[str, BaseException] = {
    "refused": FleetError("three facts; one way out"),
    "unreachable": Unreachable("nobody there"),
    "interrupt": KeyboardInterrupt(),
    "defect": ZeroDivisionError("a defect of ours"),
}


@click.command()
@click.argument("how")
def end(how: str) -> None:
    """End as told."""
    click.echo("data")
    raise ENDINGS[how]


def ending(how: str, monkeypatch: pytest.MonkeyPatch) -> Result:
    """Run `fleet end HOW`, a command of this module that is found as the real ones are."""
    monkeypatch.setitem(main._COMMANDS, "end", main._Lazy(f"{__name__}:end", "End as told."))
    return CliRunner().invoke(main.main, ["end", how])


def test_an_error_of_ours_is_a_sentence_with_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """No stack trace, nothing added to the data, and exit code 1."""
    result = ending("refused", monkeypatch)
    assert (result.exit_code, result.stdout) == (1, "data\n")
    assert result.stderr == "Error: three facts; one way out\nSee docs/reference.md#fleeterror\n"


def test_an_error_may_carry_its_own_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts can tell an unreachable broker from a failed run."""
    assert ending("unreachable", monkeypatch).exit_code == 4


def test_ctrl_c_ends_quietly_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """As shells count it: 128 and the number of SIGINT."""
    result = ending("interrupt", monkeypatch)
    assert (result.exit_code, result.stderr) == (130, "")


def test_a_defect_keeps_its_stack_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only errors that we raise on purpose are sentences."""
    assert isinstance(ending("defect", monkeypatch).exception, ZeroDivisionError)


def test_wrong_usage_ends_with_2() -> None:
    """Click's own code for it."""
    assert CliRunner().invoke(main.main, ["no-such-command"]).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "way_out"),
    [
        (["rnus"], "did you mean runs?"),
        (["runs", "lst"], "did you mean list?"),
        (["topics", "delete"], "there are apply, list"),
        (["runs", "list"], "the name of an installed workflow (joke)"),
        (["lag", "--broker", "localhost"], "not of the form kafka://host:port"),
        (["lag", "--broker", "kafka://me:secret@far:9092"], "FLEET_SECURITY_USERNAME"),
        (["run", "joke", "--timeout", "long"], "'long' is not a valid number"),
        (["dev", "up", "--port", "1.5"], "'1.5' is not a valid whole number"),
        (["replay"], "such as joke.StartEvent"),
        (["replay", "joke.StartEvent"], "--reason TEXT"),
    ],
)
def test_wrong_usage_names_the_way_out(arguments: list[str], way_out: str) -> None:
    """On stderr, with 2; a password is not repeated."""
    result = CliRunner().invoke(main.main, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert way_out in result.stderr
    assert "secret" not in result.stderr


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_every_command_with_its_line(flag: str) -> None:
    """The listing is the table of commands."""
    shown = CliRunner().invoke(main.main, [flag]).stdout
    for name, command in main._COMMANDS.items():
        assert f"{name} " in shown
        assert command.summary in shown


@pytest.mark.parametrize("name", list(main._COMMANDS))
def test_a_listed_command_is_there_under_its_name(name: str) -> None:
    """What `fleet --help` promises can be loaded."""
    assert main._COMMANDS[name].load().name == name


def test_the_version_is_that_of_the_installed_package() -> None:
    """One number, from the package's metadata."""
    shown = CliRunner().invoke(main.main, ["--version"]).stdout
    assert importlib.metadata.version("fleet-workflows") in shown


#: What a command's action may need, and its help does not.
HEAVY = {
    *("aiohttp", "aiokafka", "faust", "mode", "openai", "pydantic", "pydantic_settings"),
    *("rich", "rocksdict", "structlog", "tenacity"),
}


def test_help_waits_for_click_alone() -> None:
    """Of every command, in one process: no client, no model, no settings are loaded to print it."""
    program = """
        import json, sys
        import click
        from fleet.cli.main import main

        def show(command, words):
            main([*words, "--help"], standalone_mode=False)
            shown.append(" ".join(words))
            if isinstance(command, click.Group):
                context = click.Context(command)
                for name in command.list_commands(context):
                    show(command.get_command(context, name), [*words, name])

        shown = []
        show(main, [])
        json.dump([shown, sorted(sys.modules)], sys.stderr)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=True,
    )
    shown, modules = json.loads(done.stderr)
    assert {"", "runs list", "dev llm", "replay"} <= set(shown)
    loaded = {name.partition(".")[0] for name in modules}
    assert "click" in loaded
    assert loaded & HEAVY == set()
    assert not [name for name in modules if name.startswith("fleet.cli.actions")]
