"""A moment as a parameter of a command."""

from datetime import datetime

import click

from fleet.control.times import NoMoment, moment


class Moment(click.ParamType):
    """A parameter that is a moment, as a datetime in UTC."""

    name = "moment"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read what stands on the command line."""
        if isinstance(value, datetime):
            return value
        try:
            return moment(str(value))
        except NoMoment as refused:
            self.fail(str(refused), param, ctx)


#: For `click.option(..., type=moments.MOMENT, metavar="WHEN")`.
MOMENT = Moment()
