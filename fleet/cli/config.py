"""`fleet config`: the settings of this machine, as a process that you start here reads them."""

import click

from fleet.cli.shared import options
from fleet.cli.shared.group import Group


@click.group(cls=Group)
def config() -> None:
    """Show the settings and where they come from."""


@config.command()
@options.broker
@options.output
@options.as_json
def show(form: str) -> None:
    """Show every setting: variable, value, source and meaning.

    Passwords and keys are masked. Unknown FLEET_ variables are reported on stderr.
    """
    from fleet.cli.actions import config as action

    action.show(form)
