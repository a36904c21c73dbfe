"""
Options that mean the same on every command.

`--broker` is FLEET_BROKER for one invocation: set in the environment before a command reads its
settings, so that the processes a command starts inherit it.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from fleet.cli.shared import types

_BROKER = "FLEET_BROKER"

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _use_broker(context: click.Context, _: click.Parameter, address: str | None) -> None:
    if address is not None:
        context.with_resource(_environment(_BROKER, address))


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    _forget_settings()
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
        _forget_settings()


def _forget_settings() -> None:
    # Looked up, not imported: settings bring in pydantic, and `fleet --help` does not wait for
    # it. A module that was not imported has read nothing.
    settings = sys.modules.get("fleet.config.settings")
    if settings is not None:
        settings.current.cache_clear()


#: You can give it before and after the name of a command; the nearer one wins.
broker = click.option(
    "--broker",
    type=types.Broker(),
    metavar="kafka://HOST:PORT[,...]",
    expose_value=False,
    callback=_use_broker,
    help=f"Where Kafka is, for this call; instead of {_BROKER}.",
)

#: The workflow that a command is about.
workflow = click.argument("workflow", type=types.Workflow(), metavar="WORKFLOW")

#: Gives the command a parameter `form`: `table` for people, `json` for programs.
output = click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print.",
)

#: The same as `-o json`, beside `output`.
as_json = click.option("--json", "form", flag_value="json", help="The same as -o json.")


def limit(note: str = "") -> Callable[[_Command], _Command]:
    """Return the option of a command whose list may be long; *note* ends its help."""
    return click.option(
        "--limit",
        type=types.Whole(min=0),
        default=50,
        show_default=True,
        metavar="N",
        help=f"How many to list, the newest first; 0 lists all.{note}",
    )


#: Why you change something; the audit record has it.
reason = click.option(
    "--reason", required=True, metavar="TEXT", help="Why; the audit topic keeps it."
)

#: Answers the question before a change.
yes = click.option("--yes", is_flag=True, help="Do it without asking.")
