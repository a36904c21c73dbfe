"""
Moments as people write them: so long ago, or a date and time. All of it is UTC, as what is shown.

`2h` and `1d12h` are that long before now; `2026-11-22`, `2026-11-22T10:00` and
`2026-11-22 10:00:30+01:00` are what they say, in UTC where they name no zone.
"""

import re
from datetime import UTC, datetime, timedelta

from fleet.records.errors import ExitCode, FleetError

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_AGO = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")
FORMS = "2h, 1d12h, 2026-11-22 or 2026-11-22T10:00"


class NoMoment(FleetError):
    """Raised when a text names no moment."""

    exit_code = ExitCode.REFUSED

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(
            f"{text!r} is no moment ({reason}); write so long ago or a time in UTC: {FORMS}"
        )


def moment(text: str, now: datetime | None = None) -> datetime:
    """Return the moment that *text* names, in UTC; raise NoMoment where it names none."""
    text = text.strip()
    try:
        if _AGO.fullmatch(text):
            return (now or datetime.now(UTC)) - _duration(text)
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as failure:
        raise NoMoment(text, str(failure)) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def milliseconds(when: datetime) -> int:
    """Return a moment as Kafka has it: unix milliseconds."""
    return round(when.timestamp() * 1000)


def shown(unix_seconds: float) -> str:
    """Return a moment as `2026-11-22 10:00:30`, in UTC."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _duration(text: str) -> timedelta:
    return sum(
        (timedelta(**{_UNITS[unit]: float(count)}) for count, unit in _PART.findall(text)),
        timedelta(),
    )
