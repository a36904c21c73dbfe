"""`fleet exporter`: the lag of all step groups, for Prometheus."""

import click

from fleet.cli.shared import options, types


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Where it listens; 0.0.0.0 in a pod.",
)
@click.option(
    "--port",
    type=types.Whole(0, 65_535),
    metavar="PORT",
    default=9308,
    show_default=True,
    help="Where it listens; 0 takes a free port.",
)
@click.option(
    "--every",
    "every_seconds",
    type=types.Number(min=1),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How often it looks at the broker between scrapes.",
)
@options.broker
def exporter(host: str, port: int, every_seconds: float) -> None:
    """Serve the lag of all step groups of FLEET_PREFIX at /metrics, until SIGTERM or Ctrl-C.

    Workers export the lag of their own partitions; the exporter shows all of them, also while no
    worker runs. It needs no code of the workflows. /live answers while it runs, /ready once it has
    seen the broker.
    """
    from fleet.cli.actions import exporter as action

    action.serve(host, port, every_seconds)
