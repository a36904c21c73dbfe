"""`fleet config`: the settings of this machine as a process started here would read them."""

from dataclasses import asdict

import click

from fleet.cli.shared import options, output, terminal
from fleet.config import listing, settings


@click.group()
def config() -> None:
    """Show the settings and where they come from."""


@config.command()
@options.broker
@options.output
def show(form: str) -> None:
    """
    Show every setting: variable, value, source and meaning.

    Passwords and keys are masked. Unknown FLEET_ variables are reported on stderr.
    """
    for sentence in listing.unknown():
        terminal.echo(f"Warning: {sentence}", err=True)
    output.show([asdict(setting) for setting in listing.listed(settings.current())], form)
