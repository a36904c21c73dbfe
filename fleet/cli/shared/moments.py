"""A time as a parameter of a command."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import click

from fleet.control.times import FORMS, InvalidTime, moment

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Moment(click.ParamType):
    """A parameter that is a time, as a datetime in UTC."""

    name = "moment"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read the text of the command line."""
        if isinstance(value, datetime):
            return value
        try:
            return moment(str(value))
        except InvalidTime as refused:
            self.fail(str(refused), param, ctx)


def option(name: str, what: str) -> Callable[[_Command], _Command]:
    """Return the option *name* that takes a time; its help is *what*, and how to write one."""
    return click.option(name, type=Moment(), metavar="WHEN", help=f"{what}: {FORMS} (UTC).")
