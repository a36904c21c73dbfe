"""What `fleet dev up`, `status`, `logs` and `down` do."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from fleet.cli.shared import consent, counts, output, terminal
from fleet.config import settings
from fleet.dev import kafka
from fleet.dev.kafka import LocalBroker
from fleet.records.errors import ExitCode, FleetError

#: How many topics a preview names.
_SHOWN_TOPICS = 5


class NoLog(FleetError):
    """Raised when there is no log to show.

    What to do: Start a broker with `fleet dev up`, or name its folder with `--folder`.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"no broker has run in {folder}; start one with `fleet dev up`, or choose its folder "
            "with --folder"
        )


def up(folder: Path, port: int | None) -> None:
    """Start the broker and print its address."""
    with _progress() as progress:
        broker = kafka.start(folder, port=port, progress=progress)
    terminal.echo(broker.address)
    terminal.say(f"Apache Kafka {broker.version} runs as process {broker.pid} in {broker.folder}.")
    if broker.address != settings.current().broker:
        terminal.say(f"To use it: export FLEET_BROKER={broker.address}")


def status(folder: Path, form: str) -> None:
    """Print the broker; the exit code says whether it answers."""
    broker = kafka.status(folder)
    if form == "json":
        output.show_object({"running": broker is not None, **(_fields(broker) if broker else {})})
    elif broker is not None:
        for name, value in _fields(broker).items():
            terminal.echo(f"{name:9}{value}")
    if broker is None:
        terminal.say(_absence(folder))
        raise click.exceptions.Exit(ExitCode.UNREACHABLE)


def show_logs(folder: Path, lines: int) -> None:
    """Print the last *lines* of the log."""
    said = kafka.log_lines(folder, lines)
    if not said and lines:
        raise NoLog(folder)
    for line in said:
        terminal.echo(line)


def follow_logs(folder: Path, lines: int) -> None:
    """Print the last *lines* of the log, and new ones until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        try:
            for line in kafka.follow_log(folder, lines):
                terminal.echo(line)
        except FileNotFoundError:
            raise NoLog(folder) from None


def down(folder: Path, *, purge: bool, yes: bool) -> None:
    """Stop the broker; with *purge* remove its data after a question."""
    if purge:
        _preview_purge(folder)
        consent.ask("Remove them?", yes=yes)
    was_running = kafka.stop(folder, purge=purge)
    terminal.say(
        f"Stopped the broker of {folder}." if was_running else f"No broker ran in {folder}."
    )
    if purge:
        terminal.say("Removed its topics and data.")


@contextmanager
def _progress() -> Iterator[Callable[[str], object]]:
    """Show stages on stderr: a line that changes in a terminal, else one line per stage."""
    if sys.stderr.isatty():
        with Console(stderr=True).status("Looking for a broker") as shown:
            # A path may have brackets, which are markup to rich.
            yield lambda words: shown.update(escape(words))
        return
    told: set[str] = set()

    def tell(words: str) -> None:
        stage = words.partition(": ")[0]
        if stage not in told:
            told.add(stage)
            terminal.say(words)

    yield tell


def _fields(broker: LocalBroker) -> dict[str, str | int]:
    return {
        "address": broker.address,
        "pid": broker.pid,
        "version": broker.version,
        "folder": str(broker.folder),
        "started": datetime.fromtimestamp(broker.started, UTC).isoformat(timespec="seconds"),
    }


def _absence(folder: Path) -> str:
    silent = kafka.find(folder)
    if silent is None:
        return f"No broker runs in {folder}; `fleet dev up` starts one."
    return (
        f"The broker of {folder} (process {silent.pid}) does not answer at {silent.bootstrap}; "
        "`fleet dev logs` shows its log, `fleet dev down` stops it."
    )


def _preview_purge(folder: Path) -> None:
    topics = kafka.topics(folder)
    named = ", ".join(topics[:_SHOWN_TOPICS]) + (", ..." if len(topics) > _SHOWN_TOPICS else "")
    count = counts.of(len(topics), "topic")
    terminal.say(f"This removes all data in {folder}: {count} ({named or 'none'}).")
