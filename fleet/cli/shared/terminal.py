"""
The one way of words to stdout and stderr: texts of others are made safe on it.

See `fleet.records.printable`. A value that belongs into one line goes through `printable.line`
first.
"""

import click

from fleet.records import printable


def echo(words: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print *words* to stdout, or stderr; *nl* ends the line."""
    click.echo(printable.text(words), err=err, nl=nl)


def say(words: str) -> None:
    """Print words for people to stderr; stdout is for data."""
    echo(words, err=True)
