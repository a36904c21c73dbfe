"""An event loop for one command."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import TypeVar

from fleet.records import printable

T = TypeVar("T")


class _Sentences(logging.Formatter):
    """Shows a warning of ours as its sentence: the reason."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line to print."""
        fields = record.msg
        reason = fields.get("reason", "") if isinstance(fields, dict) else ""
        return printable.line(reason or record.getMessage())


def run(work: Coroutine[object, object, T], *, quiet: bool = False) -> T:
    """Run *work* to its end and return what it returns.

    The Kafka client's own log lines stay away from the terminal: you read what goes wrong there as
    one sentence of ours. Our warnings go to stderr, as sentences, too, unless it is *quiet*.
    """
    _show_warnings(logging.CRITICAL if quiet else logging.WARNING)
    # A handler of its own, because Python prints the warnings of a logger that has none.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    return asyncio.run(work)


def _show_warnings(level: int) -> None:
    ours = logging.getLogger("fleet")
    # A command with logs of its own, as the exporter, would print each line twice.
    if not ours.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(_Sentences())
        handler.setLevel(level)
        ours.addHandler(handler)
