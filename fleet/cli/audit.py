"""`fleet audit`: who changed what, and why."""

from datetime import datetime

import click

from fleet.cli.shared import moments, options
from fleet.cli.shared.group import Group


@click.group(cls=Group)
def audit() -> None:
    """Show who changed what, and why."""


@audit.command("list")
@moments.option("--since", "Only records since then")
@options.limit()
@options.output
@options.as_json
@options.broker
def list_(since: datetime | None, limit: int, form: str) -> None:
    """List the audit records of FLEET_PREFIX, the newest first.

    Each command that changes something leaves one. Times are UTC.
    """
    from fleet.cli.actions import audit as action

    action.list_entries(since, limit, form)
