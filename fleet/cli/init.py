"""`fleet init`: a package of one's own, with a workflow, its tests and an image."""

import shlex
from pathlib import Path

import click

from fleet.cli.scaffold import new_package
from fleet.cli.shared import terminal


@click.command()
@click.argument("name")
@click.option(
    "--into",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder for it, new or empty; NAME where nothing is given.",
)
def init(name: str, folder: Path | None) -> None:
    """Write a small package NAME: a workflow of two steps, its tests and a Dockerfile.

    Prints the folder on stdout and what to do next on stderr. Nothing is overwritten.

    \b
    Exit codes:
      0    the package is there
      1    the files cannot be written
      2    the name cannot be used, or the folder is not empty
    """  # noqa: D301 - click's mark for lines that stay as they are
    target = folder or Path(name)
    files = new_package.write(name, target)
    terminal.echo(target)
    terminal.echo(_next(name, target, len(files)), err=True)


def _next(name: str, folder: Path, files: int) -> str:
    commands = [
        *([] if folder.resolve() == Path.cwd() else [(f"cd {shlex.quote(str(folder))}", "")]),
        ("pip install -e '.[test]'", ""),
        ("pytest", "in memory, and on Kafka"),
        ("fleet dev up", "a Kafka that stays"),
        (f"faust -A {name}.flows worker -l info", "leave it running"),
        ("fleet run hello name=Ada", "in another terminal"),
        (f"fleet draw {name}.flows:Hello", "what it looks like"),
    ]
    width = max(len(command) for command, _ in commands)
    lines = [
        f"  {command:{width}}  {f'# {why}' if why else ''}".rstrip() for command, why in commands
    ]
    return "\n".join([f"Wrote {files} files. Next:", "", *lines])
