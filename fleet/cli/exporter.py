"""`fleet exporter`: the lag of all step groups, for Prometheus."""

import logging.config

import click

from fleet.cli.shared import loop, options, terminal
from fleet.config import logs
from fleet.config import settings as configuration
from fleet.control.lag import exporter as exporting
from fleet.control.lag.exporter import Place


@click.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where it listens; 0.0.0.0 in a pod."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=9308,
    show_default=True,
    help="0 is any free port.",
)
@click.option(
    "--every",
    "every_seconds",
    type=click.FloatRange(min=1),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How often it looks at the broker when nobody scrapes.",
)
@options.broker
def exporter(host: str, port: int, every_seconds: float) -> None:
    """Show the lag of all step groups of FLEET_PREFIX at /metrics, until SIGTERM.

    Workers export the lag of their own partitions; this is for all of them, also where no worker
    runs. It needs no code of the workflows. /live says that it runs, /ready that it has seen the
    broker.
    """
    settings = configuration.current()
    logging.config.dictConfig(logs.logging_config(settings.log_format))
    loop.run(
        exporting.serve(
            settings,
            Place(host, port),
            every_seconds,
            ready=lambda address: terminal.echo(f"{address}/metrics", err=True),
        )
    )
