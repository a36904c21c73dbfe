"""
Values on the command line that need more than click has: a broker's address, a workflow's name,
numbers by their plain names.
"""

import click


class Number(click.FloatRange):
    """A number in a range."""

    name = "number"


class Whole(click.IntRange):
    """A whole number in a range."""

    name = "whole number"


class Broker(click.ParamType):
    """An address as FLEET_BROKER takes it."""

    name = "broker"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the address as `kafka://host:port[,host:port...]`."""
        # Here, because settings bring in pydantic: help does not wait for it.
        from fleet.config import settings  # noqa: PLC0415

        try:
            return settings.broker_address(str(value))
        except ValueError as refused:
            self.fail(str(refused), param, ctx)


class Workflow(click.ParamType):
    """`module:Class`, or the name of an installed workflow; `control.workflows` finds it."""

    name = "workflow"

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return what to write."""
        from fleet.control import workflows  # noqa: PLC0415 - as above

        known = ", ".join(sorted(workflows.installed())) or "none"
        return f"Write module:Class, or the name of an installed workflow ({known})."

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the name as it is."""
        return str(value)
