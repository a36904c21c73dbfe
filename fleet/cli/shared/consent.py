"""The question before a command changes something, and the refusals without a yes."""

import shlex
import sys
from pathlib import Path

import click

from fleet.records import printable
from fleet.records.errors import ExitCode, FleetError


class NotConfirmed(FleetError):
    """Raised when a command would change something and has no terminal to ask in.

    What to do: Look at the preview above the message, and add `--yes` if that is what you want.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self) -> None:
        super().__init__(
            "nothing was changed: there is no terminal to ask in; add --yes to do what is shown "
            "above"
        )


class NotWanted(FleetError):
    """Raised when you answer a question with no.

    What to do: Nothing. Repeat the command if you change your mind.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self) -> None:
        super().__init__("nothing was changed")


def ask(question: str, *, yes: bool) -> None:
    """Return once you agree; raise NotConfirmed or NotWanted if you do not."""
    if yes:
        return
    if not click.get_text_stream("stdin").isatty():
        raise NotConfirmed
    if not _confirmed(question):
        raise NotWanted


def _confirmed(question: str) -> bool:
    try:
        return click.confirm(printable.text(question), err=True)
    except click.Abort as abort:
        # Click has one exception for Ctrl-C and for the end of the input, which is no answer.
        if isinstance(abort.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        return False


def this_command() -> str:
    """Return the command that you gave, to give it again."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
