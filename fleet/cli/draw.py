"""`fleet draw`: a picture of a workflow."""

from pathlib import Path

import click

from fleet.cli.shared import options


@click.command()
@options.workflow
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A name ending in .html or .mmd; without it, the workflow's name with .html.",
)
@click.option(
    "--run",
    metavar="RUN",
    help="Draw the way of this run: its id, or the file of its export, ending in .json.",
)
@options.broker
def draw(workflow: str, to: Path | None, run: str | None) -> None:
    """Draw WORKFLOW: its events, its steps and how they follow each other.

    With --run it shows the way of one run: what the run did not reach is pale, the branch that
    failed is red, and each step has its attempts and times. The command reads the run from the
    broker, or from a file that `fleet runs export` wrote.

    WORKFLOW is module:Class or the name of an installed workflow, as for `fleet run`. A file ending
    in .html is one page that opens offline; one ending in .mmd is Mermaid text, for Markdown. The
    command replaces a file of that name, and prints its path.

    \b
    Exit codes:
      0    the file is written
      1    the file cannot be written, or the workflow's steps do not fit together
      2    no such workflow or run, another ending, or a file that is no export
      4    no broker answers, for a run
    """  # noqa: D301 - click's mark for lines that stay as they are
    from fleet.cli.actions import draw as action

    action.draw(workflow, to, run)
