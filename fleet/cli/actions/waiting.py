"""What `fleet runs waiting` does."""

from fleet.cli.actions.runs import source
from fleet.cli.shared import counts, loop, output, terminal
from fleet.cli.views import waiting as waiting_shown
from fleet.control.runs import waiting


def list_waiting(workflow: str, run_id: str | None, limit: int, form: str) -> None:
    """Print the steps that wait for events, the longest first, and count them on stderr."""
    found = loop.run(waiting.waiting(source(workflow), run_id or ""))
    shown = found[:limit] if limit else found
    make = waiting_shown.fields if form == "json" else waiting_shown.row
    if shown or form == "json":
        output.show([make(one) for one in shown], form)
    steps, runs = len(found), len({one.run_id for one in found})
    rest = f"; the first {len(shown):,} are shown" if len(shown) < steps else ""
    verb = "waits" if steps == 1 else "wait"
    terminal.say(f"{counts.of(steps, 'step')} of {counts.runs(runs)} {verb} for an event{rest}")
