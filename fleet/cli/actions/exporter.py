"""What `fleet exporter` does."""

import logging.config

from fleet.cli.shared import loop, terminal
from fleet.config import logs
from fleet.config import settings as configuration
from fleet.control.lag import exporter
from fleet.control.lag.exporter import Place


def serve(host: str, port: int, every_seconds: float) -> None:
    """Serve until SIGTERM or SIGINT, with logs as a worker writes them."""
    settings = configuration.current()
    logging.config.dictConfig(logs.logging_config(settings.log_format))
    loop.run(
        exporter.serve(
            settings,
            Place(host, port),
            every_seconds,
            ready=lambda address: terminal.say(f"{address}/metrics"),
        )
    )
