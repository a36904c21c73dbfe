"""The question before something is changed, and what happens where nobody can be asked."""

import shlex
import sys
from pathlib import Path

import click

from fleet.records import printable
from fleet.records.errors import FleetError


class NotConfirmed(FleetError):
    """Raised when something would be changed and nobody can be asked."""

    exit_code = 2

    def __init__(self) -> None:
        super().__init__(
            "nothing was changed: there is no terminal to ask; add --yes to do what is shown above"
        )


class NotWanted(FleetError):
    """Raised when somebody was asked and said no."""

    exit_code = 2

    def __init__(self) -> None:
        super().__init__("nothing was changed")


def ask(question: str, *, yes: bool) -> None:
    """Return when it is to be done; raise NotConfirmed or NotWanted where it is not."""
    if yes:
        return
    if not click.get_text_stream("stdin").isatty():
        raise NotConfirmed
    if not click.confirm(printable.text(question), err=True):
        raise NotWanted


def this_command() -> str:
    """Return the command as it was given, to be given again."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
