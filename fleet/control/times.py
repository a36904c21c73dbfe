"""
Times on the command line: a duration before now, or a date and time. All times are UTC.

`2h` and `1d12h` are that long before now. `2026-11-22`, `2026-11-22T10:00` and
`2026-11-22 10:00:30+01:00` are dates; without a zone they are in UTC.
"""

import re
from datetime import UTC, datetime, timedelta

from fleet.records.errors import ExitCode, FleetError

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_AGO = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")
FORMS = "2h, 1d12h, 2026-11-22 or 2026-11-22T10:00"


class InvalidTime(FleetError):
    """Raised when a text is not a valid time.

    What to do: Write how long ago (`2h`, `1d12h`) or a time in UTC (`2026-11-22T10:00`).
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(
            f"{text!r} is not a valid time ({reason}); write a duration before now or a time in "
            f"UTC: {FORMS}"
        )


def moment(text: str, now: datetime | None = None) -> datetime:
    """Return the time that *text* names, in UTC; raise InvalidTime."""
    text = text.strip()
    try:
        if _AGO.fullmatch(text):
            return (now or datetime.now(UTC)) - _duration(text)
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as failure:
        raise InvalidTime(text, str(failure)) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def milliseconds(when: datetime) -> int:
    """Return a time as Kafka has it: unix milliseconds."""
    return round(when.timestamp() * 1000)


def shown(unix_seconds: float) -> str:
    """Return a time as `2026-11-22 10:00:30`, in UTC."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _duration(text: str) -> timedelta:
    return sum(
        (timedelta(**{_UNITS[unit]: float(count)}) for count, unit in _PART.findall(text)),
        timedelta(),
    )
