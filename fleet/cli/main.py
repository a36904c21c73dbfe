"""
The `fleet` command: finds a subcommand, and turns an error into a sentence and an exit code.

Subcommands are loaded by name when you use them, so that `fleet --help` and shell completion wait
for none of them. Exit codes are those of `fleet.records.errors.ExitCode`: an error carries its own.
"""

import importlib
from dataclasses import dataclass

import click

from fleet.cli.shared import options
from fleet.cli.shared.group import Group
from fleet.config import platforms
from fleet.records import printable
from fleet.records.errors import ExitCode, FleetError


@dataclass(frozen=True, slots=True)
class _Lazy:
    """A command before it is loaded: `module:attribute`, and its line in `fleet --help`."""

    target: str
    summary: str

    def load(self) -> click.Command:
        # Not earlier: `fleet --help` answers everywhere.
        platforms.check_here()
        module, _, attribute = self.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


_COMMANDS = {
    "demo": _Lazy("fleet.cli.demo:demo", "Watch a workflow run on a real Kafka, from nothing."),
    "init": _Lazy("fleet.cli.init:init", "Write a package for workflows of your own."),
    "run": _Lazy("fleet.cli.run:run", "Run a workflow once and print its result."),
    "check": _Lazy("fleet.cli.check:check", "Say what is wrong with workflows, for CI, too."),
    "draw": _Lazy("fleet.cli.draw:draw", "Draw a workflow: a page, or Mermaid text."),
    "runs": _Lazy("fleet.cli.runs:runs", "List the runs of a workflow, show one, cancel some."),
    "dead": _Lazy("fleet.cli.dead:dead", "List dead letters, show one, resume their runs."),
    "replay": _Lazy("fleet.cli.replay:replay", "Start new runs from events in the log."),
    "audit": _Lazy("fleet.cli.audit:audit", "Show who changed what, and why."),
    "lag": _Lazy("fleet.cli.lag:lag", "Show how far step groups are behind."),
    "groups": _Lazy("fleet.cli.groups:groups", "List the step groups, and who works in them."),
    "exporter": _Lazy("fleet.cli.exporter:exporter", "Serve lag for Prometheus."),
    "topics": _Lazy("fleet.cli.topics:topics", "List the topics of a workflow, and create them."),
    "dev": _Lazy("fleet.cli.dev:dev", "Run Kafka and a scripted LLM on this machine."),
    "config": _Lazy("fleet.cli.config:config", "Show the settings and where they come from."),
}


class _Failure(click.ClickException):
    """Raised when a command ends with one of our errors: prints its sentence on stderr."""

    def __init__(self, error: FleetError) -> None:
        super().__init__(f"{printable.text(error)}\nSee {error.address}")
        self.exit_code = error.exit_code


class _Commands(Group):
    """The group of the commands in `_COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        lazy = _COMMANDS.get(cmd_name)
        return lazy.load() if lazy else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.summary) for name, lazy in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except FleetError as error:
            raise _Failure(error) from error
        except KeyboardInterrupt:
            # You pressed Ctrl-C, so you know; click would print "Aborted!" and end with 1.
            raise click.exceptions.Exit(ExitCode.INTERRUPTED) from None


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "-V", "--version", package_name="fleet-workflows", prog_name="fleet")
@options.broker
def main() -> None:
    """Typed, event-driven LLM workflows as a fleet of Faust workers on Kafka."""
