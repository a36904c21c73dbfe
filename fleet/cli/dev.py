"""`fleet dev`: what stands in on a laptop for the services that workflows need."""

from pathlib import Path

import click

from fleet.cli.dev_llm import llm
from fleet.cli.shared import options, types
from fleet.cli.shared.group import Group


def _default_folder() -> Path:
    from fleet.config import settings

    return settings.current().data_dir / "kafka"


_folder = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    default=_default_folder,
    show_default="FLEET_DATA_DIR/kafka",
    help="Where the broker keeps its data.",
)


@click.group(cls=Group)
def dev() -> None:
    """Run Kafka and a scripted LLM on this machine, without Docker."""


dev.add_command(llm)


@dev.command()
@_folder
@click.option(
    "--port",
    type=types.Whole(1, 65_535),
    metavar="PORT",
    show_default="the one it had, 9092, or a free one",
    help="Where clients connect.",
)
def up(folder: Path, port: int | None) -> None:
    """Start Kafka in the background and print its address.

    A broker that runs already stays as it is. The first start downloads Kafka, some 45 MB.
    """
    from fleet.cli.actions import dev as action

    action.up(folder, port)


@dev.command()
@_folder
@options.output
@options.as_json
def status(folder: Path, form: str) -> None:
    """Show the broker.

    Exits with 4 if none answers.
    """
    from fleet.cli.actions import dev as action

    action.status(folder, form)


@dev.command()
@_folder
@click.option(
    "-n",
    "--lines",
    type=types.Whole(0),
    metavar="N",
    default=50,
    show_default=True,
    help="How many of its last lines.",
)
@click.option("--follow", is_flag=True, help="Then print new lines as they come, until Ctrl-C.")
def logs(folder: Path, lines: int, *, follow: bool) -> None:
    """Print the last lines of the broker's log."""
    from fleet.cli.actions import dev as action

    if follow:
        action.follow_logs(folder, lines)
    else:
        action.show_logs(folder, lines)


@dev.command()
@_folder
@click.option("--purge", is_flag=True, help="Remove its topics and all its data, too.")
@click.option("--yes", is_flag=True, help="Do not ask before a purge.")
def down(folder: Path, *, purge: bool, yes: bool) -> None:
    """Stop the broker. Its topics and data stay, unless you purge them."""
    from fleet.cli.actions import dev as action

    action.down(folder, purge=purge, yes=yes)
