"""`fleet init`: a package of your own, with a workflow, its tests and an image."""

from pathlib import Path

import click


@click.command()
@click.argument("name")
@click.option(
    "--into",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder for it, new or empty; NAME without this option.",
)
def init(name: str, folder: Path | None) -> None:
    """Write a small package NAME: a workflow of two steps, its tests and a Dockerfile.

    Prints the folder on stdout and what to do next on stderr. It overwrites nothing.

    \b
    Exit codes:
      0    the package is written
      1    the files cannot be written
      2    the name cannot be used, or the folder is not empty
    """  # noqa: D301 - click's mark for lines that stay as they are
    from fleet.cli.scaffold import command

    command.write(name, folder or Path(name))
