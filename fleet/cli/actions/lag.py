"""What `fleet lag` and `fleet groups list` do."""

import asyncio
import json
import time
from dataclasses import dataclass

import click

from fleet.cli.shared import loop, output, terminal
from fleet.cli.views import lag as lag_shown
from fleet.config import settings as configuration
from fleet.config.settings import Settings
from fleet.control import installed_steps, times, workflows
from fleet.control.lag import reader as lags
from fleet.control.lag.reader import GroupLag, LagReader
from fleet.kafka.clients import BrokerUnreachable
from fleet.records.errors import ExitCode, FleetError


class NoSuchGroup(FleetError):
    """Raised when the broker has no step group of a workflow.

    What to do: Create the workflow's topics with `fleet topics apply`, or set `FLEET_PREFIX` to the
    prefix that its workers have.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, workflow: str, prefix: str) -> None:
        super().__init__(
            f"the broker has no step group of {workflow} under the prefix {prefix}; create its "
            "topics with `fleet topics apply`, or set FLEET_PREFIX to the prefix it has"
        )


@dataclass(frozen=True, slots=True)
class View:
    """What one invocation shows of each look."""

    #: `table` or `json`.
    form: str
    limit_seconds: float | None
    partitions: bool
    watch: bool

    def show(self, groups: list[GroupLag]) -> None:
        """Print a look; raise LagAbove if the limit is crossed."""
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
            # Clears a terminal, and writes nothing into a pipe.
            click.clear()
            terminal.echo(f"{times.shown(time.time())} UTC")
        if groups:
            output.show(lag_shown.rows(groups, partitions=self.partitions), "table")
        for note in lag_shown.notes(groups):
            terminal.say(note)


def show(workflow: str | None, view: View) -> None:
    """Look once, and print it."""
    settings, name = configuration.current(), _name(workflow)
    view.show(_found(loop.run(lags.look(settings, name)), name, settings))


def watch(workflow: str | None, view: View, every_seconds: float) -> None:
    """Look again and again, until Ctrl-C or the limit."""
    loop.run(_watch(configuration.current(), _name(workflow), view, every_seconds))


def list_groups(form: str) -> None:
    """Print a line for each step group."""
    settings = configuration.current()
    found = _found(loop.run(lags.look(settings)), None, settings)
    output.show(lag_shown.group_rows(found, installed_steps.by_group(), form), form)


async def _watch(
    settings: Settings, workflow: str | None, view: View, every_seconds: float
) -> None:
    while True:
        try:
            async with LagReader(settings) as reader:
                while True:
                    groups = await reader.look(workflow)
                    view.show(_found(groups, workflow, settings))
                    await asyncio.sleep(every_seconds)
        except BrokerUnreachable as failure:
            # You want to see it come back, too.
            terminal.say(str(failure))
            await asyncio.sleep(every_seconds)


def _found(groups: list[GroupLag], workflow: str | None, settings: Settings) -> list[GroupLag]:
    if workflow and not groups:
        raise NoSuchGroup(workflow, settings.prefix)
    if not groups:
        terminal.say(
            f"No step group has topics under the prefix {settings.prefix}. `fleet topics apply "
            "WORKFLOW` creates them; FLEET_PREFIX chooses another prefix."
        )
    return groups


def _name(workflow: str | None) -> str | None:
    """Return a workflow's name on the broker; a name that is not installed here may be one."""
    if workflow is None:
        return None
    try:
        return workflows.find(workflow).workflow_name
    except workflows.UnknownWorkflow:
        if ":" in workflow:
            raise
        return workflow
