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
def draw(workflow: str, to: Path | None) -> None:
    """Draw WORKFLOW: its events, its steps and how they follow each other.

    WORKFLOW is module:Class or the name of an installed workflow, as for `fleet run`. A file ending
    in .html is one page that opens offline; one ending in .mmd is Mermaid text, for Markdown. The
    command replaces a file of that name, and prints its path.

    \b
    Exit codes:
      0    the file is written
      1    the file cannot be written, or the workflow's steps do not fit together
      2    no such workflow, or another ending
    """  # noqa: D301 - click's mark for lines that stay as they are
    from fleet.cli.shared import terminal
    from fleet.control import workflows
    from fleet.drawing import draw as drawing

    terminal.echo(drawing.draw_workflow(workflows.find(workflow), to))
