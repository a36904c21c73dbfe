"""What `fleet runs send` does: make the event, send it, say so."""

from collections.abc import Sequence

from fleet.cli.actions.runs import source
from fleet.cli.shared import loop, output, terminal
from fleet.control import event_fields
from fleet.control.runs import sending
from fleet.records import printable


def send(  # noqa: PLR0913 - each is a word of the command
    workflow: str,
    run_id: str,
    type_name: str,
    words: Sequence[str],
    *,
    step: str | None,
    reason: str,
    form: str,
) -> None:
    """Send an event to a run; raise what the exit code needs."""
    place = source(workflow)
    event = event_fields.event(place.workflow, type_name, words)
    loop.run(sending.send(place, run_id, event, step, reason))
    if form == "json":
        output.show_object({"run": run_id, "type": type_name, "step": step})
    terminal.say(f"{type_name} is sent to run {printable.line(run_id)}.")
