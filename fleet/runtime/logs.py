"""
Logs: a constant event name and fields, through the standard library's logger `fleet`.

In a library somebody else decides where logs go, so nothing is configured here; a worker chooses
JSON or text with `logging_config`.
"""

import logging
from typing import Any, Literal

import structlog

_shared: list[Any] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

#: Loggers that say the same thing many times while a broker is away, or cost time when at work.
_NOISY = ("aiokafka", "faust.transport.drivers.aiokafka", "asyncio")


def get_logger(name: str) -> Any:
    """Return the structured logger `fleet.<name>`; its events go to the standard library's."""
    return structlog.wrap_logger(
        logging.getLogger(f"fleet.{name}"),
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def logging_config(style: Literal["json", "console"]) -> dict[str, Any]:
    """Return a worker's `logging.config` dictionary: all lines of the process, in one style."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
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
                    renderer,
                ],
                "foreign_pre_chain": _shared,
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "fleet"}},
        "loggers": {name: {"level": "WARNING"} for name in _NOISY},
        "root": {"handlers": ["stderr"], "level": "INFO"},
    }
