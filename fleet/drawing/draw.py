"""
Drawing a workflow: a page for people, or Mermaid text for a Markdown file.

The drawing shows what the class says. It needs no broker and runs nothing.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from fleet.drawing import mermaid, page, picture
from fleet.drawing.picture import Picture
from fleet.records.errors import ExitCode, FleetError
from fleet.workflow.definition import Definition
from fleet.workflow.errors import WorkflowConfigurationError

T = TypeVar("T")

_WRITERS: Mapping[str, Callable[[Picture], str]] = {
    ".html": page.html,
    ".mmd": mermaid.mermaid,
}


class UnknownDrawing(FleetError):
    """Raised when a drawing's file name ends in neither .html nor .mmd.

    What to do: End the file's name in `.html` or `.mmd`.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"no drawing can be written to {str(path)!r}, which ends in neither .html nor .mmd; "
            "end it in .html for a page to look at, in .mmd for Mermaid text"
        )


class UnwritableDrawing(FleetError):
    """Raised when the drawing's file cannot be written.

    What to do: Name a file in a folder that exists and that you may write to.
    """

    def __init__(self, path: Path, failure: OSError) -> None:
        super().__init__(
            f"the drawing cannot be written to {str(path)!r}: {failure.strerror or failure}; "
            "name a file in a folder that is there and may be written to"
        )


def draw_workflow(
    workflow: Definition | type[Definition],
    to: str | os.PathLike[str] | None = None,
    *,
    filename: str | os.PathLike[str] | None = None,
) -> Path:
    """Draw *workflow*, a class or an instance; return the path of the written file.

    *to* ends in `.html` (one page that opens offline) or `.mmd` (Mermaid text). Without it the file
    has the workflow's name, in the current directory. An existing file is replaced. *filename* is
    LlamaIndex Workflows' name for *to*.

    Raises UnknownDrawing for another ending, UnwritableDrawing, WorkflowConfigurationError if
    *workflow* is no workflow, and WorkflowValidationError if its steps do not fit together.
    """
    found = workflow if isinstance(workflow, type) else type(workflow)
    if not issubclass(found, Definition):
        raise WorkflowConfigurationError(
            f"draw_workflow takes a Workflow class or an instance of one, not {found.__name__}"
        )
    path = Path(to or filename or f"{found.workflow_name}.html")
    write(path, _WRITERS, picture.of(found))
    return path


def write(path: Path, writers: Mapping[str, Callable[[T], str]], drawn: T) -> None:
    """Write *drawn* with the writer of the path's ending.

    Raises UnknownDrawing and UnwritableDrawing.
    """
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise UnknownDrawing(path)
    text = writer(drawn)
    try:
        # A docstring may hold half a surrogate pair, which UTF-8 cannot.
        path.write_bytes(text.encode("utf-8", "xmlcharrefreplace"))
    except OSError as failure:
        raise UnwritableDrawing(path, failure) from failure
