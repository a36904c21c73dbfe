"""What `fleet audit list` does."""

import json
from datetime import datetime

from fleet.cli.shared import counts, loop, output, terminal
from fleet.config import settings as configuration
from fleet.control import audit, times
from fleet.control.audit import Entry


def list_entries(since: datetime | None, limit: int, form: str) -> None:
    """Print the audit records since then, the newest first, and count them on stderr."""
    found = loop.run(audit.entries(configuration.current(), since))[::-1]
    shown = found[:limit] if limit else found
    rows = [_fields(entry) if form == "json" else _row(entry) for entry in shown]
    if rows or form == "json":
        output.show(rows, form)
    rest = output.rest(len(shown), len(found))
    terminal.say(f"{counts.of(len(found), 'record')}{rest}")


def _fields(entry: Entry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in entry.__slots__}


def _row(entry: Entry) -> dict[str, object]:
    # A row has no room for all ids; JSON has them.
    details = {name: value for name, value in entry.details.items() if name != "run_ids"}
    return {
        "at": times.shown(entry.at),
        "who": entry.who,
        "command": entry.command,
        "workflow": entry.workflow,
        "reason": entry.reason,
        "details": json.dumps(details, ensure_ascii=False),
    }
