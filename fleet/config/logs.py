"""
Logs: a constant event name and fields, through the standard library's logger `fleet`.

A library leaves it to its program where logs go, so nothing is configured here; a worker chooses
JSON or text with `logging_config`.
"""

import logging
import time
from typing import Any, Literal

import structlog

from fleet.config.current_step import CURRENT_STEP
from fleet.records import printable


def _add_step(_logger: Any, _method: str, line: dict[str, Any]) -> dict[str, Any]:
    """Add step and run to a line that a step's code writes."""
    current = CURRENT_STEP.get()
    if current is not None:
        line.setdefault("step", current.step)
        line.setdefault("run_id", current.run_id)
    return line


_shared: list[Any] = [
    _add_step,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

#: Loggers that cost time at the worker's level, or write a line for every call of a model.
_BUSY = ("aiokafka", "asyncio", "httpx", "httpx2", "openai")
#: Warnings of aiokafka in every rebalance that ask for nothing.
_ROUTINE = frozenset({"Heartbeat failed for group %s because it is rebalancing"})
#: How often one line of one logger may repeat, in seconds.
REPEAT_SECONDS = 10.0


class Repeated(logging.Filter):
    """Passes a line of a logger once in a while, with how often it was held back.

    While a broker is away for ten seconds, the Kafka client writes thousands of lines.
    """

    def __init__(self, prefix: str, seconds: float = REPEAT_SECONDS) -> None:
        super().__init__()
        self._prefix = prefix
        self._seconds = seconds
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to write *record*."""
        if not record.name.startswith(self._prefix):
            return True
        if record.msg in _ROUTINE:
            return False
        # Not the record's own time, which jumps with the machine's clock.
        line, now = (record.name, str(record.msg)), time.monotonic()
        since, held_back = self._seen.get(line, (-self._seconds, 0))
        if now - since < self._seconds:
            self._seen[line] = since, held_back + 1
            return False
        self._seen[line] = now, 0
        if held_back:
            record.msg = f"{record.msg} (and {held_back} times before)"
        return True


class Line(dict[str, Any]):
    """The fields of a line, with a text for processes without Fleet's formatter.

    In a script or a notebook Python itself prints warnings, as their text alone.
    """

    def __str__(self) -> str:
        rest = {name: value for name, value in self.items() if name not in _NOT_SHOWN}
        event = rest.pop("event", "")
        return " ".join([f"fleet: {event}", *(f"{name}={_shown(rest[name])}" for name in rest)])


#: A formatter shows these in places of their own.
_NOT_SHOWN = ("level", "logger", "timestamp")


def _shown(value: object) -> str:
    text = printable.line(value)
    return repr(text) if " " in text or not text else text


def _as_line(logger: Any, method: str, fields: Any) -> Any:
    (given,), options = structlog.stdlib.ProcessorFormatter.wrap_for_formatter(
        logger, method, fields
    )
    return (Line(given),), options


def _print_safely(_logger: Any, _method: str, line: Any) -> Any:
    """Let no foreign text (a run id, an error) control the terminal; stacks keep their lines."""
    for name, value in line.items():
        if isinstance(value, str):
            line[name] = printable.text(value) if name in _TEXTS else printable.line(value)
    return line


_TEXTS = ("exception", "stack")


def calm(prefix: str) -> None:
    """Let each line of the loggers under *prefix* through once in a while.

    For a process that configures no logging for them: a page of warnings hides what matters.
    """
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        if name.startswith(prefix) and not any(isinstance(f, Repeated) for f in logger.filters):
            logger.addFilter(Repeated(prefix))


def get_logger(name: str) -> Any:
    """Return the structured logger `fleet.<name>`; its events go to the standard library's."""
    return structlog.wrap_logger(
        logging.getLogger(f"fleet.{name}"),
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared,
            structlog.processors.format_exc_info,
            _as_line,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def logging_config(style: Literal["json", "console"]) -> dict[str, Any]:
    """Return a worker's `logging.config` dictionary: all lines of the process, in one style."""
    renderers: list[Any] = (
        [structlog.processors.JSONRenderer()]
        if style == "json"
        else [_print_safely, structlog.dev.ConsoleRenderer(colors=False)]
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "fleet": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    *renderers,
                ],
                "foreign_pre_chain": _shared,
            }
        },
        "filters": {"repeated": {"()": Repeated, "prefix": "aiokafka"}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "fleet",
                "filters": ["repeated"],
            }
        },
        "loggers": {name: {"level": "WARNING"} for name in _BUSY},
        "root": {"handlers": ["stderr"], "level": "INFO"},
    }
