"""`fleet lag`: how far step groups are behind, once or again and again."""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

import click

from fleet.cli.shared import loop, options, output, terminal
from fleet.cli.views import lag as lag_shown
from fleet.config import settings as configuration
from fleet.config.settings import Settings
from fleet.control import times, workflows
from fleet.control.lag import reader as lags
from fleet.control.lag.reader import GroupLag, LagReader
from fleet.kafka.clients import BrokerUnreachable
from fleet.records.errors import ExitCode, FleetError


class NoSuchGroup(FleetError):
    """Raised when the broker has no step group of a workflow."""

    exit_code = ExitCode.REFUSED

    def __init__(self, workflow: str, prefix: str) -> None:
        super().__init__(
            f"the broker has no step group of {workflow} under the prefix {prefix}; create its "
            "topics with `fleet topics apply`, or set FLEET_PREFIX to the prefix it has"
        )


@click.command()
@click.argument("workflow", required=False)
@click.option("--partitions", is_flag=True, help="A line for each partition.")
@click.option("--watch", is_flag=True, help="Look again and again, until Ctrl-C.")
@click.option(
    "--every",
    "every_seconds",
    type=click.FloatRange(min=0.5),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often, with --watch.",
)
@click.option(
    "--fail-above-seconds",
    "limit_seconds",
    type=click.FloatRange(min=0),
    metavar="N",
    help="End with exit code 5 where something is older than that and not done.",
)
@options.output
@options.as_json
@options.broker
def lag(workflow: str | None, every_seconds: float, **shown: Any) -> None:
    """Show what is not done yet: records, and the age of the oldest one in seconds.

    For all step groups of FLEET_PREFIX, or those of WORKFLOW: its name on the broker, module:Class,
    or the name of an installed workflow. No worker needs to run.
    """
    settings = configuration.current()
    name = _name(workflow) if workflow else None
    view = _View(**shown)
    if view.watch:
        loop.run(_watch(settings, name, view, every_seconds))
    else:
        view.show(_found(loop.run(lags.look(settings, name)), name, settings))


@dataclass(frozen=True, slots=True)
class _View:
    """What one invocation shows of each look."""

    #: `table` or `json`.
    form: str
    limit_seconds: float | None
    partitions: bool
    watch: bool

    def show(self, groups: list[GroupLag]) -> None:
        """Print a look; raise LagAbove where it is too much."""
        if self.form == "json" and self.watch:
            found = {"at": round(time.time(), 3), "groups": lag_shown.objects(groups)}
            terminal.echo(json.dumps(found))
        elif self.form == "json":
            output.show(lag_shown.objects(groups), "json")
        else:
            self._table(groups)
        lag_shown.check(groups, self.limit_seconds)

    def _table(self, groups: list[GroupLag]) -> None:
        if self.watch:
            # Nothing but a terminal is cleared.
            click.clear()
            terminal.echo(f"{times.shown(time.time())} UTC")
        if groups:
            output.show(lag_shown.rows(groups, partitions=self.partitions), "table")
        for note in lag_shown.notes(groups):
            terminal.echo(note, err=True)


async def _watch(
    settings: Settings, workflow: str | None, view: _View, every_seconds: float
) -> None:
    while True:
        try:
            async with LagReader(settings) as observatory:
                while True:
                    groups = await observatory.look(workflow)
                    view.show(_found(groups, workflow, settings))
                    await asyncio.sleep(every_seconds)
        except BrokerUnreachable as failure:
            # Whoever watches wants to see it come back, too.
            terminal.echo(str(failure), err=True)
            await asyncio.sleep(every_seconds)


def _found(groups: list[GroupLag], workflow: str | None, settings: Settings) -> list[GroupLag]:
    if workflow and not groups:
        raise NoSuchGroup(workflow, settings.prefix)
    if not groups:
        terminal.echo(f"There is no step group under the prefix {settings.prefix}.", err=True)
    return groups


def _name(workflow: str) -> str:
    """Return a workflow's name on the broker; what is not installed here is taken for one."""
    try:
        return workflows.find(workflow).workflow_name
    except workflows.UnknownWorkflow:
        if ":" in workflow:
            raise
        return workflow
