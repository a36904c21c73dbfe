"""`fleet audit`: who changed what from the command line."""

import json
from datetime import datetime

import click

from fleet.cli.shared import loop, options, output, terminal, times
from fleet.config import settings as configuration
from fleet.config.settings import Settings
from fleet.control import log_reader
from fleet.control.audit import Entry
from fleet.control.log_reader import LogReader
from fleet.kafka import provision
from fleet.records.log import Delivered
from fleet.records.topics import audit as topic_name


@click.group()
def audit() -> None:
    """Who changed what from the command line."""


@audit.command("list")
@click.option(
    "--since", type=times.MOMENT, metavar="WHEN", help=f"Only since then: {times.FORMS} (UTC)."
)
@options.limit()
@options.output
@options.as_json
@options.broker
def list_(since: datetime | None, limit: int, form: str) -> None:
    """List the audit records of FLEET_PREFIX, the newest first. Times are UTC."""
    found = loop.run(entries(configuration.current(), since))[::-1]
    shown = found[:limit] if limit else found
    rows = [_fields(each) if form == "json" else _row(each) for each in shown]
    if rows or form == "json":
        output.show(rows, form)
    rest = output.rest(len(shown), len(found))
    terminal.echo(f"{len(found):,} record{'' if len(found) == 1 else 's'}{rest}", err=True)


async def entries(settings: Settings, since: datetime | None = None) -> list[Entry]:
    """Return the audit records of a prefix, the oldest first; raise BrokerUnreachable."""
    topic = topic_name(settings.prefix)
    count = await provision.partitions(topic, settings)
    found: list[Entry] = []

    def take(record: Delivered) -> None:
        if entry := Entry.decode(record):
            found.append(entry)

    since_ms = times.milliseconds(since) if since else None
    async with LogReader(settings) as reader:
        await reader.read(log_reader.partitions(topic, count), take, since_ms=since_ms)
    return sorted(found, key=lambda each: each.at)


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
