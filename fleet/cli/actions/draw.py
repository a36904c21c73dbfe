"""What `fleet draw` does."""

from pathlib import Path

from fleet.cli.shared import loop, terminal
from fleet.config import settings as configuration
from fleet.control import workflows
from fleet.control.runs import export
from fleet.control.source import Source
from fleet.drawing import draw as drawing
from fleet.drawing.runs.draw import draw_run
from fleet.records.exported.run_export import RunExport
from fleet.workflow.workflow import Workflow


def draw(workflow: str, to: Path | None, run: str | None) -> None:
    """Write the drawing of a workflow, or of a run of it; print its path."""
    found = workflows.find(workflow)
    if run is None:
        terminal.echo(drawing.draw_workflow(found, to))
    else:
        read = _export(found, run)
        terminal.echo(draw_run(read, to, workflow=found))
        for lacking in read.missing:
            terminal.say(lacking)


def _export(workflow: type[Workflow], run: str) -> RunExport:
    if run.endswith(".json") and Path(run).is_file():
        return RunExport.of(run)
    source = Source(workflow, configuration.current())
    return loop.run(export.export(source, run))
