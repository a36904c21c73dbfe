"""`fleet groups`: which step groups there are, and who works in them."""

import click

from fleet.cli.shared import loop, options, output, terminal
from fleet.cli.views import lag
from fleet.config import settings as configuration
from fleet.control import installed_steps
from fleet.control.lag import reader as lags


@click.group()
def groups() -> None:
    """Which step groups there are, and who works in them."""


@groups.command("list")
@options.output
@options.as_json
@options.broker
def list_(form: str) -> None:
    """List the step groups of FLEET_PREFIX: state, workers, partitions, lag, steps.

    STATE is that of the consumer group: Stable, Empty without workers, Absent where none has been
    there. Steps are shown of workflows that are installed here.
    """
    settings = configuration.current()
    found = loop.run(lags.look(settings))
    if not found:
        terminal.echo(f"There is no step group under the prefix {settings.prefix}.", err=True)
    output.show(lag.group_rows(found, installed_steps.by_group(), form), form)
