"""What `fleet config show` does."""

from dataclasses import asdict

from fleet.cli.shared import output, terminal
from fleet.config import listing, settings


def show(form: str) -> None:
    """Print every setting, and warn of variables that set nothing."""
    for sentence in listing.unknown():
        terminal.say(f"Warning: {sentence}")
    output.show([asdict(setting) for setting in listing.listed(settings.current())], form)
