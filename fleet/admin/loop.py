"""An event loop for one command."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


def run(work: Coroutine[object, object, T]) -> T:
    """Run *work* to its end and return what it returns.

    The Kafka client's own log lines stay away from the terminal: what goes wrong there reaches the
    user as one sentence of ours.
    """
    # A handler of its own, because Python prints the warnings of a logger that has none.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    return asyncio.run(work)
