"""What `fleet runs export` does."""

from fleet.cli.actions.runs import source
from fleet.cli.shared import loop, terminal
from fleet.control.runs import export
from fleet.records import printable


def export_run(workflow: str, run_id: str) -> None:
    """Print the document of a run; say on stderr what it lacks."""
    found = loop.run(export.export(source(workflow), run_id))
    terminal.echo(printable.json(found.to_json()))
    for lacking in found.missing:
        terminal.say(lacking)
