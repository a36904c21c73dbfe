"""`fleet dev`: what stands in on a laptop for the services that workflows need."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from fleet.cli.dev_llm import llm
from fleet.cli.shared import consent, terminal
from fleet.config import settings
from fleet.dev import kafka
from fleet.dev.kafka import LocalBroker
from fleet.records.errors import ExitCode, FleetError

#: How many topics a preview names.
SHOWN_TOPICS = 5


class NoLog(FleetError):
    """Raised when there is no log to show."""

    exit_code = ExitCode.REFUSED

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"no broker has run in {folder}; start one with `fleet dev up`, or say with --folder "
            "where it is"
        )


def _default_folder() -> Path:
    return settings.current().data_dir / "kafka"


_folder = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=_default_folder,
    show_default="FLEET_DATA_DIR/kafka",
    help="Where the broker keeps its data.",
)


@click.group()
def dev() -> None:
    """Run a Kafka broker on this machine, without Docker."""


dev.add_command(llm)


@dev.command()
@_folder
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    show_default="the one it had, 9092, or a free one",
    help="Where clients connect.",
)
def up(folder: Path, port: int | None) -> None:
    """Start Kafka in the background and print its address.

    Nothing happens when it runs already. The first start downloads Kafka, some 45 MB.
    """
    with _progress() as progress:
        broker = kafka.start(folder, port=port, progress=progress)
    terminal.echo(broker.address)
    _say(f"Apache Kafka {broker.version} runs as process {broker.pid} in {broker.folder}.")
    if broker.address != settings.current().broker:
        _say(f"Make it the one that Fleet uses: export FLEET_BROKER={broker.address}")


@dev.command()
@_folder
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
@click.pass_context
def status(context: click.Context, folder: Path, output: str) -> None:
    """Show the broker; exit with 4 when none answers."""
    broker = kafka.status(folder)
    terminal.echo(_json(broker) if output == "json" else _table(broker), nl=output == "json")
    if broker is None:
        _say(_absence(folder))
        context.exit(ExitCode.UNREACHABLE)


@dev.command()
@_folder
@click.option("-n", "--lines", type=click.IntRange(0), default=50, show_default=True)
@click.option("--follow", is_flag=True, help="Go on with what it says from now on.")
def logs(folder: Path, lines: int, *, follow: bool) -> None:
    """Print the last that the broker said."""
    if not follow:
        said = kafka.log_lines(folder, lines)
        if not said and lines:
            raise NoLog(folder)
        terminal.echo("".join(f"{line}\n" for line in said), nl=False)
        return
    with suppress(KeyboardInterrupt):
        _print_for_good(folder, lines)


@dev.command()
@_folder
@click.option("--purge", is_flag=True, help="Remove its topics and all data for good.")
@click.option("--yes", is_flag=True, help="Do not ask before a purge.")
def down(folder: Path, *, purge: bool, yes: bool) -> None:
    """Stop the broker. Its topics and data stay, unless they are purged."""
    if purge:
        _preview_purge(folder)
        consent.ask("Remove them?", yes=yes)
    was_running = kafka.stop(folder, purge=purge)
    _say(f"The broker of {folder} was stopped." if was_running else f"No broker ran in {folder}.")
    if purge:
        _say("No topics and no data of a broker are left there.")


def _say(words: str) -> None:
    terminal.echo(words, err=True)


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
            _say(words)

    yield tell


def _json(broker: LocalBroker | None) -> str:
    return json.dumps({"running": broker is not None, **(_fields(broker) if broker else {})})


def _table(broker: LocalBroker | None) -> str:
    return (
        "".join(f"{name:9}{value}\n" for name, value in _fields(broker).items()) if broker else ""
    )


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
        "`fleet dev logs` shows what it does, `fleet dev down` ends it."
    )


def _print_for_good(folder: Path, lines: int) -> None:
    try:
        for line in kafka.follow_log(folder, lines):
            terminal.echo(line)
    except FileNotFoundError:
        raise NoLog(folder) from None


def _preview_purge(folder: Path) -> None:
    topics = kafka.topics(folder)
    named = ", ".join(topics[:SHOWN_TOPICS]) + (", ..." if len(topics) > SHOWN_TOPICS else "")
    _say(f"This removes all data in {folder}: {len(topics)} topics ({named or 'none'}).")
