"""`fleet audit`: who changed what from the command line."""

import json
from datetime import datetime

import click

from fleet.cli.shared import loop, moments, options, output, terminal
from fleet.config import settings as configuration
from fleet.control import audit as audits
from fleet.control import times
from fleet.control.audit import Entry


@click.group()
def audit() -> None:
    """Who changed what from the command line."""


@audit.command("list")
@click.option(
    "--since", type=moments.MOMENT, metavar="WHEN", help=f"Only since then: {times.FORMS} (UTC)."
)
@options.limit()
@options.output
@options.as_json
@options.broker
def list_(since: datetime | None, limit: int, form: str) -> None:
    """List the audit records of FLEET_PREFIX, the newest first. Times are UTC."""
    found = loop.run(audits.entries(configuration.current(), since))[::-1]
    shown = found[:limit] if limit else found
    rows = [_fields(each) if form == "json" else _row(each) for each in shown]
    if rows or form == "json":
        output.show(rows, form)
    rest = output.rest(len(shown), len(found))
    terminal.echo(f"{len(found):,} record{'' if len(found) == 1 else 's'}{rest}", err=True)


def _fields(entry: Entry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in entry.__slots__}


def _row(entry: Entry) -> dict[str, object]:
    # The ids are many; JSON has them.
    details = {name: value for name, value in entry.details.items() if name != "run_ids"}
    return {
        "at": times.shown(entry.at),
        "who": entry.who,
        "command": entry.command,
        "workflow": entry.workflow,
        "reason": entry.reason,
        "details": json.dumps(details, ensure_ascii=False),
    }
